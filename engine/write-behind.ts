import koffi from 'koffi';
import { systemError } from './file-times.ts';

/** Writing to the disk begun ahead of who will wait for it, which Node's fs does not offer. Linux. */

const libc = koffi.load('libc.so.6');
const syncFileRange = libc.func('int sync_file_range(int fd, int64_t offset, int64_t nbytes, unsigned int flags)');

const syncFileRangeWrite = 2;
const errno = koffi.os.errno as Record<string, number>;

/**
 * Has the kernel begin to write a stretch of an open file to the disk, without waiting for it: nothing is safe before
 * somebody syncs it. Does nothing where the system has no such call. `path` is for the error.
 */
export function beginWriting(fd: number, { offset, bytes }: { offset: number; bytes: number }, path: Uint8Array): void {
  if (syncFileRange(fd, offset, bytes, syncFileRangeWrite) === 0 || koffi.errno() === errno.ENOSYS) return;
  throw systemError('sync_file_range', path);
}
