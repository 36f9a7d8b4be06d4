import { closeSync, openSync } from 'node:fs';
import koffi from 'koffi';
import { systemError } from './file-times.ts';

const libc = koffi.load('libc.so.6');
const syncfs = libc.func('int syncfs(int fd)');

/**
 * Resolves once all that was written to the file system of a file is on its disk, so that it is there after a power cut.
 * One call for however many files; it waits in a thread of the pool. Rejects with what the disk could not take.
 */
export async function syncFileSystem(file: string): Promise<void> {
  const fd = openSync(file, 'r');
  try {
    const failure = await new Promise<Error | null>((resolve, reject) => {
      syncfs.async(fd, (error: unknown, result: number) => {
        if (error) reject(error as Error);
        else resolve(result === 0 ? null : systemError('syncfs', Buffer.from(file)));
      });
    });
    if (failure) throw failure;
  } finally {
    closeSync(fd);
  }
}
