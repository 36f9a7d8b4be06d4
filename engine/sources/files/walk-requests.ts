import type { FailureType } from '../../../policies/failure.ts';
import type { Entry } from '../../artifact/index.ts';
import { bytesOf, inTree, latin1 } from './raw-path.ts';
import type { Found, WalkOptions } from './walk.ts';

/** What goes to the thread that walks, and comes back. Raw bytes travel as Latin-1: a view would take all of its memory along. */

export type WalkRequest =
  | { kind: 'begin'; options: Omit<WalkOptions, 'warn'> }
  | { kind: 'more' }
  | { kind: 'look'; path: string }
  | { kind: 'open'; path: string };

/** Posted in the place of a request: there will be no more. */
export const endOfWalk = 'end';

export type Numbered<T> = T & { id: number };

export type WalkReply =
  | { kind: 'begun' }
  | { kind: 'found'; found: PostedFound[]; warnings: string[]; isLast: boolean }
  | { kind: 'looked'; found: PostedFound | null }
  | { kind: 'opened'; errno: string | undefined }
  | { kind: 'failed'; failure: { type: FailureType; next: string } | null; errno: string | undefined; message: string };

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
