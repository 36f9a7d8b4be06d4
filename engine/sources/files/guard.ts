import { comparePaths, type Entry } from '../../artifact/index.ts';
import { assertPlain, escaping } from './inside.ts';
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
