import { isFailure } from '../../../policies/failure.ts';
import { compare, lsnOf, type TimelineHistory, type WalRange } from '../../../policies/wal.ts';
import { parseWalKey, walOfWrappedKey, walPrefix } from '../../../policies/wal-bundle.ts';
import { readWalHeader } from '../../artifact/index.ts';
import type { Store } from '../../stores/index.ts';
import type { ArchiveEnd } from './archive.ts';

/** A range and where it lies. */
export interface StoredRange extends WalRange {
  key: string;
  bytes: number;
  /** The store's clock, ISO-8601. */
  storedAt: string;
}

/** A wrapped key beside an object of WAL, which need not be there. */
export interface StoredWrappedKey {
  key: string;
  /** The object's key. */
  of: string;
  /** The store's clock, ISO-8601. */
  storedAt: string;
}

/** What a store holds of a source's WAL. */
export interface WalContents {
  /** By the names alone. */
  ranges: StoredRange[];
  /** As their signed first lines say. */
  histories: (TimelineHistory & { key: string })[];
  /** What rotation has laid beside objects of WAL. */
  wrappedKeys: StoredWrappedKey[];
  /** Keys below the WAL of this source that are none of ours. */
  strangers: string[];
}

export interface ContentsOptions {
  store: Store;
  source: string;
  /** Public keys whose signature counts. */
  trusted: string[];
  signal?: AbortSignal;
}

interface OnDamage {
  /** Told of each history file that is damaged, which is left out then. */
  onDamage?(problem: string): void;
}

/** Failures that say something of an object of WAL itself. */
export const walDamage = ['Corrupt', 'SignatureInvalid', 'FormatUnsupported', 'ObjectMissing', 'KeyWrong'] as const;

/**
 * Lists a source's WAL: one request for a thousand ranges, and one for each timeline but the first. Throws what is wrong
 * with a history file, unless it is told to somebody.
 */
export async function listWal({
  store,
  source,
  trusted,
  signal,
  onDamage,
}: ContentsOptions & OnDamage): Promise<WalContents> {
  const contents: WalContents = { ranges: [], histories: [], wrappedKeys: [], strangers: [] };
  const historyKeys = new Map<number, string>();
  for await (const { key, bytes, modifiedAt: storedAt } of store.list(walPrefix(source))) {
    signal?.throwIfAborted();
    const found = parseWalKey(source, key);
    if (found?.kind === 'range') contents.ranges.push({ ...found.range, key, bytes, storedAt });
    else if (found) historyKeys.set(found.timeline, key);
    else {
      const of = walOfWrappedKey(source, key);
      if (of !== null) contents.wrappedKeys.push({ key, of, storedAt });
      else contents.strangers.push(key);
    }
  }
  for (const [timeline, key] of historyKeys) {
    const object = await readWalHeader({ store, source, key, trusted, ...(signal ? { signal } : {}) }).catch(
      (error: unknown) => {
        if (!onDamage || !isFailure(error, ...walDamage)) throw error;
        onDamage(error.message);
        return null;
      },
    );
    if (object?.header.kind !== 'history') continue;
    const { header } = object;
    const ancestors = header.ancestors.map((a) => ({ timeline: a.timeline, until: lsnOf(a.until) }));
    contents.histories.push({ timeline, ancestors, key });
  }
  return contents;
}

/** The range that reaches furthest on the newest timeline: where an archive goes on. Null for none at all. */
export function endOf({ ranges, histories }: WalContents): ArchiveEnd | null {
  let last: StoredRange | null = null;
  for (const range of ranges) {
    const later = !last || range.timeline > last.timeline || (range.timeline === last.timeline && range.end > last.end);
    if (later) last = range;
  }
  return (
    last && { timeline: last.timeline, end: last.end, until: last.until, histories: histories.map((h) => h.timeline) }
  );
}

/** Of what several stores hold, that which reaches the least far: from there on, some of them lack what comes. */
export function leastOf(stores: WalContents[]): ArchiveEnd | null {
  const ends = stores.map(endOf).filter((end) => end !== null);
  const least = ends.sort((a, b) => a.timeline - b.timeline || compare(a.end, b.end))[0];
  if (!least) return null;
  const inAll = least.histories.filter((t) => stores.every((s) => s.histories.some((h) => h.timeline === t)));
  return { ...least, histories: inAll };
}
