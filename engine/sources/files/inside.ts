import { realpathSync } from 'node:fs';
import { Failure } from '../../../policies/failure.ts';
import { comparePaths, type Entry } from '../../artifact/index.ts';
import { latin1 } from './raw-path.ts';

/**
 * Watches the entries of a manifest as they come, and refuses one that could lead out of its tree. A manifest is
 * authenticated, yet whoever held the keys may have written it. Every entry must lie right in a folder that the
 * manifest itself names, so that nothing is ever written through a symbolic link. Throws Corrupt.
 */
export function createGuard(): (entry: Entry) => void {
  /** Folders that are open, as prefixes ending in '/', outermost first; latin1 keeps bytes apart. */
  const open: string[] = [];
  return (entry) => {
    const path = latin1(entry.path);
    assertPlain(path);
    while (open.length > 0 && !path.startsWith(open.at(-1) ?? '')) open.pop();
    const parent = open.at(-1);
    const name = path.slice(parent?.length ?? 0);
    const isRoot = path === '' && parent === undefined;
    if (!isRoot && (parent === undefined || name === '' || name.includes('/'))) {
      throw escaping(path, 'lies in no folder of its tree');
    }
    if (isRoot && entry.type !== 'directory') throw escaping('.', 'is the tree itself, but no folder');
    if (entry.type === 'directory') open.push(path === '' ? '' : `${path}/`);
    if (entry.type === 'hardlink') {
      const link = latin1(entry.link ?? new Uint8Array());
      assertPlain(link);
      if (link === '') throw escaping(path, 'is a further name of nothing');
      // First names come first: so no two names wait for each other, and none for itself.
      if (comparePaths(entry.link ?? new Uint8Array(), entry.path) >= 0)
        throw escaping(path, 'is a further name of what comes after it');
    }
    if (entry.type === 'symlink' && (entry.link ?? []).length === 0) throw escaping(path, 'is a link to nowhere');
  };
}

/** That a hard link's first name lies within the tree as it was restored, through no symbolic link. Throws Corrupt. */
export function assertReal(root: string, file: Buffer): void {
  const folder = file.subarray(0, file.lastIndexOf(0x2f));
  const real = realpathSync.native(folder, { encoding: 'buffer' });
  const realRoot = realpathSync.native(Buffer.from(root), { encoding: 'buffer' });
  const wanted = Buffer.concat([realRoot, folder.subarray(Buffer.byteLength(root))]);
  if (!real.equals(wanted)) throw escaping(latin1(file), 'leads through a symbolic link');
}

function assertPlain(path: string): void {
  if (path === '') return;
  for (const segment of path.split('/')) {
    if (segment === '' || segment === '.' || segment === '..' || segment.includes('\0')) {
      throw escaping(path, 'leads out of its tree');
    }
  }
}

function escaping(path: string, why: string): Failure {
  const shown = JSON.stringify(Buffer.from(path, 'latin1').toString());
  return new Failure('Corrupt', `The manifest names ${shown}, which ${why}.`, {
    next: 'Do not use this recovery point; find out who wrote it.',
  });
}
