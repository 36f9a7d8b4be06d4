import type { Entry } from '../../artifact/index.ts';
import { bytesOf, inTree, latin1 } from './raw-path.ts';
import type { Found } from './walk.ts';

/** What was found, on its way between threads. Raw bytes travel as Latin-1: a view would take all of its memory along. */

export interface PostedFound {
  entry: Omit<Entry, 'path' | 'link' | 'xattrs'> & { path: string; link?: string; xattrs?: Record<string, string> };
  linked: boolean;
}

export function posted({ entry, linked }: Found): PostedFound {
  const { path, link, xattrs, ...plain } = entry;
  return {
    entry: {
      ...plain,
      path: latin1(path),
      ...(link ? { link: latin1(link) } : {}),
      ...(xattrs ? { xattrs: each(xattrs, latin1) } : {}),
    },
    linked,
  };
}

/** @param root absolute, raw bytes */
export function unposted({ entry, linked }: PostedFound, root: Buffer): Found {
  const { path, link, xattrs, ...plain } = entry;
  const own = bytesOf(path);
  return {
    entry: {
      ...plain,
      path: own,
      ...(link === undefined ? {} : { link: bytesOf(link) }),
      ...(xattrs ? { xattrs: each(xattrs, bytesOf) } : {}),
    },
    file: inTree(root, own),
    linked,
  };
}

function each<A, B>(record: Record<string, A>, change: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}
