import { Failure, isFailure } from '../../../policies/failure.ts';
import type { Place } from './disk.ts';
import { codeOf } from './files.ts';

/** Runs an operation on the folder, and gives its failures their names. `key` is the object it is about, if any. */
export async function guarded<T>(place: Place, key: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    throw await asFailure(place, key, error);
  }
}

/** The failure for what the file system raised. Aborts, failures and defects of ours stay what they are. */
export async function asFailure(at: Place, key: string, error: unknown): Promise<unknown> {
  const { name, root } = at;
  const code = codeOf(error);
  if (isFailure(error) || code === undefined || code === 'ABORT_ERR' || code.startsWith('ERR_')) return error;
  const place = key === '' ? `${name} (${root})` : `${name} (${root}), ${key}`;
  const failed = (type: Failure['type'], what: string, next: string) =>
    new Failure(type, `${place}: ${what} (${code}).`, { next, cause: error });
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT': {
      const free = await freeBytes(at);
      return failed(
        'StoreFull',
        `there is no space left${free === null ? '' : `: ${free} bytes are free`}`,
        'Free space there or enlarge it; the copy is tried again by itself.',
      );
    }
    case 'EROFS':
      return failed('StoreDenied', 'the file system is read-only', 'Mount it for writing; look at its disk first.');
    case 'EACCES':
    case 'EPERM':
      return failed(
        'StoreDenied',
        'the file system refuses',
        `Give this worker's user the right to read and write below ${root}.`,
      );
    case 'ENAMETOOLONG':
      return failed('UsageInvalid', 'the name is too long for this file system', 'Use a shorter key.');
    case 'ENOENT':
    case 'ENOTDIR':
      if (await isGone(at)) return missing(at, error);
      break;
  }
  return failed(
    'StoreUnreachable',
    'the file system does not do as asked',
    'Look at the disk; it is tried again by itself.',
  );
}

/** Throws BucketMissing when the folder is not there, so that nothing is taken for gone that is only away. */
export async function assertPlace(place: Place): Promise<void> {
  if (await isGone(place)) throw missing(place, undefined);
}

function missing({ name, root }: Place, cause: unknown): Failure {
  return new Failure('BucketMissing', `${name}: there is no folder ${root}.`, {
    next: 'Make the folder, or mount its disk, or correct its path in the policy file.',
    cause,
  });
}

async function isGone({ root, disk }: Place): Promise<boolean> {
  try {
    return !(await disk.stat(root)).isDirectory();
  } catch (error) {
    if (isFailure(error)) throw error;
    // With any other error it is there, and ill.
    return ['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '');
  }
}

/** Null when the file system does not tell. */
async function freeBytes({ root, disk }: Place): Promise<number | null> {
  try {
    const { bavail, bsize } = await disk.statfs(root);
    return bavail * bsize;
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return null;
  }
}
