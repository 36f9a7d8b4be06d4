import { Failure, isFailure } from '../policies/failure.ts';

/**
 * What a call to the file system of this host failed of, as a Failure that names the file; any other error is given back
 * as it is.
 *
 * @param file for calls on open files, whose errors do not name it
 */
export function asDiskFailure(error: unknown, file?: string): unknown {
  const { code, path: named, syscall } = error as NodeJS.ErrnoException;
  const where = named || file;
  if (isFailure(error) || !/^E[A-Z0-9]+$/.test(code ?? '') || where === undefined) return error;
  // A program that cannot be run has a path, too.
  if (syscall?.startsWith('spawn')) return error;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new Failure('StagingFull', `The disk is full: ${where} (${code}).`, {
      next: 'Free space there, or point staging.path at a larger disk; it is tried again by itself.',
      cause: error,
    });
  }
  return new Failure('DiskFailed', `The disk does not do as asked: ${syscall ?? 'a call'} ${where} (${code}).`, {
    next: 'Look at this disk, and at who may write there; it is tried again by itself.',
    cause: error,
  });
}
