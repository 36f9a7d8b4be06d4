import { compare, historyName, parseSegmentName } from '../../../policies/wal.ts';
import { type OpenWal, openWal } from '../../artifact/index.ts';
import type { ContentsOptions, StoredRange, WalContents } from './contents.ts';

export interface FetchOptions extends ContentsOptions {
  /** age identity. */
  identity: string;
  contents: WalContents;
  segmentBytes: number;
}

/** A segment file as an archive gives it out. */
export interface FetchedSegment {
  /** Whole, filled up with zeros behind what there is. */
  bytes: Buffer;
  /** Bytes from its beginning on that are WAL. */
  covered: number;
}

export interface WalFetcher {
  /** By the name of a segment file; null when its beginning is not there. */
  segment(name: string): Promise<FetchedSegment | null>;
  /** By the name of a history file; null when there is none. */
  history(name: string): Promise<Buffer | null>;
}

/** Ranges that stay open: recovery comes by each several times. */
const openMax = 8;

/** Puts segments together again from the ranges of an archive. Throws Corrupt, KeyWrong, and what the store throws. */
export function createWalFetcher({ contents, identity, segmentBytes, ...reading }: FetchOptions): WalFetcher {
  const opened = new Map<string, Promise<OpenWal>>();
  const open = (key: string): Promise<OpenWal> => {
    const known = opened.get(key);
    opened.delete(key);
    const wal = known ?? openWal({ ...reading, key }, identity);
    wal.catch(() => opened.delete(key));
    // The one that was asked for last stands last.
    opened.set(key, wal);
    for (const oldest of [...opened.keys()].slice(0, -openMax)) opened.delete(oldest);
    return wal;
  };
  const byTimeline = new Map<number, StoredRange[]>();
  for (const range of contents.ranges) {
    const list = byTimeline.get(range.timeline) ?? [];
    list.push(range);
    byTimeline.set(range.timeline, list);
  }
  for (const list of byTimeline.values()) list.sort((a, b) => compare(a.start, b.start));

  return {
    async segment(name) {
      const found = parseSegmentName(name, segmentBytes);
      if (!found) return null;
      const end = found.start + BigInt(segmentBytes);
      const bytes = Buffer.alloc(segmentBytes);
      let at = found.start;
      for (const range of byTimeline.get(found.timeline) ?? []) {
        if (range.end <= at) continue;
        if (range.start > at || at >= end) break;
        const to = range.end < end ? range.end : end;
        const wal = await open(range.key);
        const part = await wal.read(Number(at - range.start), Number(to - at));
        bytes.set(part, Number(at - found.start));
        at = to;
      }
      const covered = Number(at - found.start);
      return covered === 0 ? null : { bytes, covered };
    },

    async history(name) {
      const found = contents.histories.find((h) => historyName(h.timeline) === name);
      if (!found) return null;
      const wal = await open(found.key);
      return wal.read(0, wal.header.content.bytes);
    },
  };
}
