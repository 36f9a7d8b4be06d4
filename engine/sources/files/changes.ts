import {
  type Base,
  type Block,
  comparePaths,
  type Entry,
  type EntryWithBlocks,
  inherited,
} from '../../artifact/index.ts';

/** What an earlier point has of a file. */
export interface Before {
  /** Nothing says that it was touched since: it need not be read. */
  isUntouched: boolean;
  /** Its blocks, as the new point refers to them. To be asked for once, before the next file is looked up. */
  blocks(): AsyncGenerator<Block>;
}

export interface Changes {
  /** Looks a file up; paths come in the order of the manifest. Null when the earlier point has no file there. */
  before(entry: Entry): Promise<Before | null>;
  close(): Promise<void>;
}

/**
 * A file written to in the same instant in which it was read bears the same times as before: one that changed this
 * shortly before the base was begun, or later, is read. Some file systems tell time by 2 s.
 */
const instantMs = 2_000;

/** Merges the walk of a tree with an earlier point's manifest; both are sorted, so memory stays flat. */
export function changesSince(base: Base): Changes {
  const entries = base.entries();
  const settledMs = Date.parse(base.capturedAt) - instantMs;
  let head: IteratorResult<EntryWithBlocks> | null = null;

  return {
    async before(entry) {
      if (entry.type !== 'file') return null;
      head ??= await entries.next();
      while (!head.done && comparePaths(head.value.path, entry.path) < 0) head = await entries.next();
      if (head.done || comparePaths(head.value.path, entry.path) !== 0 || head.value.type !== 'file') return null;
      const known = head.value;
      return {
        isUntouched: !known.unstable && isSame(known, entry) && msOf(entry.ctimeNs) < settledMs,
        async *blocks() {
          for await (const block of known.blocks) yield inherited(block);
        },
      };
    },
    close: async () => void (await entries.return(undefined)),
  };
}

function isSame(a: Entry, b: Entry): boolean {
  return (
    a.size === b.size &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs &&
    a.ino === b.ino &&
    a.dev === b.dev &&
    !a.streamed
  );
}

function msOf(ns: string): number {
  return Number(BigInt(ns) / 1_000_000n);
}
