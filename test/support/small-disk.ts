import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A file system of its own that can be full (tmpfs; mounting takes root). */
export interface SmallDisk {
  path: string;
  resize(bytes: number): Promise<void>;
  remove(): Promise<void>;
}

export async function makeSmallDisk(bytes: number): Promise<SmallDisk> {
  const dir = await mkdtemp(path.join(tmpdir(), 'small-disk-'));
  await run('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=700`, 'small-disk', dir]);
  return {
    path: dir,
    resize: async (size) => void (await run('mount', ['-o', `remount,size=${size}`, dir])),
    async remove() {
      await run('umount', [dir]);
      await rm(dir, { recursive: true });
    },
  };
}
