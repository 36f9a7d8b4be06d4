import { statfs } from 'node:fs/promises';
import { Failure, isFailure } from '../../../policies/failure.ts';
import { codeOf } from './files.ts';

/** Runs an operation on the folder, and gives its failures their names. */
export async function guarded<T>(
  { name, root }: { name: string; root: string },
  operation: () => Promise<T>,
): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    const code = codeOf(error);
    if (isFailure(error) || code === undefined || code === 'ABORT_ERR') throw error;
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      const { bavail, bsize } = await statfs(root);
      throw new Failure('StoreFull', `${name} is full: ${bavail * bsize} bytes are free at ${root}.`, {
        next: 'Free space there or enlarge it; the copy is tried again by itself.',
        cause: error,
      });
    }
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
      throw new Failure('StoreDenied', `${name} refuses: ${String(error)}.`, {
        next: `Give this worker's user the right to read and write below ${root}.`,
        cause: error,
      });
    }
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new Failure('BucketMissing', `The folder of ${name} is not there: ${root}.`, {
        next: 'Make the folder, or mount its disk, or correct its path in the policy file.',
        cause: error,
      });
    }
    throw new Failure('StoreUnreachable', `${name} cannot be used at ${root}: ${String(error)}.`, {
      next: 'Look at the disk; the operation is tried again by itself.',
      cause: error,
    });
  }
}
