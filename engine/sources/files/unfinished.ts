import type { Entry } from '../../artifact/index.ts';

/** Kept at most, by and large. */
const bytesMax = 16 * 1024 * 1024;
/** What an entry takes besides its bytes. */
const entryBytes = 512;

/**
 * Entries to come back to, so that a manifest need not be read twice for the few that are folders, links or large. Where
 * there are too many to keep, nothing is kept, and it must be.
 */
export interface Unfinished {
  add(entry: Entry): void;
  /** In the order in which they came; null: too many. */
  readonly entries: readonly Entry[] | null;
}

export function createUnfinished(limit = bytesMax): Unfinished {
  let entries: Entry[] | null = [];
  let bytes = 0;
  return {
    add(entry) {
      if (!entries) return;
      const { kept, size } = ownCopy(entry);
      bytes += size;
      if (bytes > limit) entries = null;
      else entries.push(kept);
    },
    get entries() {
      return entries;
    },
  };
}

/** In memory of its own: what a manifest gives out looks into pieces that many entries share, and would keep them all. */
function ownCopy(entry: Entry): { kept: Entry; size: number } {
  const { path, type, mode, uid, gid, user, group, mtimeNs, ctimeNs, dev, ino, size, link, xattrs } = entry;
  const values = Object.entries(xattrs ?? {}).map(([name, value]) => [name, Uint8Array.from(value)] as const);
  const kept: Entry = {
    ...{ type, mode, uid, gid, user, group, mtimeNs, ctimeNs, dev, ino, size },
    path: Uint8Array.from(path),
    ...(link ? { link: Uint8Array.from(link) } : {}),
    ...(xattrs ? { xattrs: Object.fromEntries(values) } : {}),
  };
  const own = path.length + (link?.length ?? 0) + values.reduce((sum, [name, v]) => sum + name.length + v.length, 0);
  return { kept, size: entryBytes + own };
}
