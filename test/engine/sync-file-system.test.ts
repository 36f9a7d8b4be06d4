import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { syncFileSystem } from '../../engine/sync-file-system.ts';

const dir = mkdtempSync(path.join(tmpdir(), 'sync-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('waits for the disk of a file, without holding up the loop', async () => {
  writeFileSync(path.join(dir, 'file'), Buffer.alloc(8 * 1024 * 1024, 7));
  const order: string[] = [];
  const synced = syncFileSystem(path.join(dir, 'file')).then(() => order.push('synced'));
  order.push('called');
  await synced;
  expect(order).toEqual(['called', 'synced']);
});

test('names the file that is none', async () => {
  await expect(syncFileSystem(path.join(dir, 'absent'))).rejects.toThrow(/ENOENT.*absent/);
});
