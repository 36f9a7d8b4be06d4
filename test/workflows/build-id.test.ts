import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { workflowBuildId } from '../../workers/version.ts';

let root: string;
const write = (name: string, text: string) => writeFileSync(path.join(root, name), text);

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'build-id-'));
  for (const room of ['workflows', 'policies', 'engine']) mkdirSync(path.join(root, room));
  write('package.json', JSON.stringify({ version: '1.2.3', dependencies: { '@temporalio/workflow': '1.24.0' } }));
  write('workflows/backup.ts', 'export {};');
  write('policies/plan.ts', 'export {};');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

test('the version of the workflows is named by what decides how a history is replayed, and by nothing else', async () => {
  const id = await workflowBuildId(root);
  expect(id).toMatch(/^1\.2\.3-[0-9a-f]{12}$/);
  write('engine/tar.ts', 'export {};');
  write('workflows/notes.md', 'no code');
  expect(await workflowBuildId(root)).toBe(id);

  const seen = new Set([id]);
  const changes = [
    () => write('workflows/backup.ts', 'export const a = 1;'),
    () => write('policies/plan.ts', 'export const a = 1;'),
    () => write('workflows/new.ts', ''),
    () =>
      write('package.json', JSON.stringify({ version: '1.2.3', dependencies: { '@temporalio/workflow': '1.25.0' } })),
  ];
  for (const change of changes) {
    change();
    seen.add(await workflowBuildId(root));
  }
  expect(seen.size).toBe(changes.length + 1);
});

test('the version of these workflows can be told', async () => {
  expect(await workflowBuildId()).toBe(await workflowBuildId());
});
