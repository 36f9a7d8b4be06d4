import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { beginWriting } from '../../engine/write-behind.ts';

const dir = mkdtempSync(path.join(tmpdir(), 'write-behind-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('begins to write a stretch of a file, for reading only too, and leaves its bytes alone', () => {
  const file = path.join(dir, 'file');
  const bytes = Buffer.alloc(1024 * 1024, 7);
  writeFileSync(file, bytes);
  const fd = openSync(file, 'r');
  try {
    beginWriting(fd, { offset: 4096, bytes: 8192 }, Buffer.from(file));
    expect(() => beginWriting(fd, { offset: -1, bytes: 1 }, Buffer.from(file))).toThrow(
      `EINVAL: sync_file_range '${file}'`,
    );
  } finally {
    closeSync(fd);
  }
  expect(() => beginWriting(fd, { offset: 0, bytes: 1 }, Buffer.from(file))).toThrow(
    `EBADF: sync_file_range '${file}'`,
  );
  expect(readFileSync(file).equals(bytes)).toBe(true);
});
