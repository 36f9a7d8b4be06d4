import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { generatePointKey } from '../../../engine/artifact/keys.ts';
import { createSealedFile } from '../../../engine/artifact/sealed-file.ts';
import { failureOf } from './sealing.ts';

const MiB = 1024 * 1024;

let dir: string;
let handles: FileHandle;
beforeEach(async () => {
  dir = mkdtempSync(path.join(tmpdir(), 'sealed-file-'));
  const some = await open(process.execPath);
  handles = Object.getPrototypeOf(some);
  await some.close();
});
afterEach(() => {
  jest.restoreAllMocks();
  rmSync(dir, { recursive: true, force: true });
});

const create = () =>
  createSealedFile({
    ...{ dir, name: 'x.tink', role: 'artifact', key: generatePointKey(), associatedData: 'x' },
    syncEveryBytes: 4 * MiB,
  });

async function fill(file: Awaited<ReturnType<typeof create>>, mebibytes: number): Promise<void> {
  for (let i = 0; i < mebibytes; i++) await file.write(Buffer.alloc(MiB));
}

test('a large file goes to the disk while it is written, and all of it has at the end', async () => {
  const behind = jest.spyOn(handles, 'datasync');
  const whole = jest.spyOn(handles, 'sync');
  const file = await create();
  await fill(file, 6);
  expect(behind).toHaveBeenCalledTimes(1);
  const { bytes } = await file.finish();
  expect(whole).toHaveBeenCalledTimes(1);
  expect(statSync(path.join(dir, 'x.tink')).size).toBe(bytes);
});

test('what the disk loses while it is written is told, though the kernel tells of it once', async () => {
  jest.spyOn(handles, 'datasync').mockRejectedValueOnce(Object.assign(new Error('EIO: i/o error'), { code: 'EIO' }));
  const file = await create();
  const sealing = async () => {
    await fill(file, 5);
    await file.finish();
  };
  expect(await failureOf(sealing())).toMatchObject({
    type: 'DiskFailed',
    message: expect.stringContaining(path.join(dir, 'x.tink')),
  });
  await file.close();
});
