import { realpathSync } from 'node:fs';
import { comparePaths } from './manifest.mjs';
import { damaged } from './problem.mjs';
import { printable } from './text.mjs';

/** @typedef {import('./manifest.mjs').Entry} Entry */

const slash = 0x2f;

/**
 * Refuses entries that could lead out of their tree: every one must lie right in a folder that the manifest names
 * itself, so that nothing is ever written through a symbolic link (docs/format.md, section 8).
 */
export function createGuard() {
  /** Folders that are open, outermost first. @type {Buffer[]} */
  const open = [];
  return (/** @type {Entry} */ { path, type, link }) => {
    assertPlain(path);
    let parent = open.at(-1);
    for (; parent && !liesIn(path, parent); parent = open.at(-1)) open.pop();
    const isRoot = path.length === 0 && !parent;
    if (!isRoot) {
      const name = parent && path.subarray(parent.length === 0 ? 0 : parent.length + 1);
      if (!name || name.length === 0 || name.includes(slash)) throw escaping(path, 'lies in no folder of its tree');
    }
    if (isRoot && type !== 'directory') throw escaping(path, 'is the tree itself, but no folder');
    if (type === 'directory') open.push(path);
    if (type === 'symlink' && link.length === 0) throw escaping(path, 'is a link to nowhere');
    if (type !== 'hardlink') return;
    assertPlain(link);
    if (link.length === 0 || comparePaths(link, path) >= 0)
      throw escaping(path, 'is a further name of nothing before it');
  };
}

/** That a first name lies in the tree as it was restored, behind no symbolic link. @param {Buffer} root @param {Buffer} file @param {Buffer} path */
export function assertReal(root, file, path) {
  const folder = file.subarray(0, file.lastIndexOf(slash));
  const real = realpathSync.native(folder, { encoding: 'buffer' });
  const realRoot = realpathSync.native(root, { encoding: 'buffer' });
  if (!real.equals(Buffer.concat([realRoot, folder.subarray(root.length)])))
    throw escaping(path, 'leads through a symbolic link');
}

/** @param {Buffer} path @param {Buffer} folder */
function liesIn(path, folder) {
  return (
    folder.length === 0 ||
    (path.length > folder.length && path[folder.length] === slash && path.subarray(0, folder.length).equals(folder))
  );
}

/** @param {Buffer} path */
function assertPlain(path) {
  if (path.length === 0) return;
  for (const segment of path.toString('latin1').split('/')) {
    if (['', '.', '..'].includes(segment) || segment.includes('\0')) throw escaping(path, 'leads out of its tree');
  }
}

/** @param {Buffer} path @param {string} why */
function escaping(path, why) {
  return damaged(
    `The manifest names "${printable(path)}", which ${why}.`,
    'Do not use this recovery point; find out who wrote it.',
  );
}
