import { realpathSync } from 'node:fs';
import { Failure } from '../../../policies/failure.ts';
import { latin1 } from './raw-path.ts';

/** That a hard link's first name lies within the tree as it was restored, through no symbolic link. Throws Corrupt. */
export function assertReal(root: Buffer, file: Buffer): void {
  const folder = file.subarray(0, file.lastIndexOf(0x2f));
  const real = realpathSync.native(folder, { encoding: 'buffer' });
  const realRoot = realpathSync.native(root, { encoding: 'buffer' });
  const wanted = Buffer.concat([realRoot, folder.subarray(root.length)]);
  if (!real.equals(wanted)) throw escaping(latin1(file), 'leads through a symbolic link');
}

/** That a path of a tree stays within it, whatever lies there. Throws Corrupt. */
export function assertPlain(path: string): void {
  if (path === '') return;
  for (const segment of path.split('/')) {
    if (segment === '' || segment === '.' || segment === '..' || segment.includes('\0')) {
      throw escaping(path, 'leads out of its tree');
    }
  }
}

export function escaping(path: string, why: string): Failure {
  const shown = JSON.stringify(Buffer.from(path, 'latin1').toString());
  return new Failure('Corrupt', `The manifest names ${shown}, which ${why}.`, {
    next: 'Do not use this recovery point; find out who wrote it.',
  });
}
