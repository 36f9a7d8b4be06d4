/**
 * Write-ahead log, as plain data: positions (LSN), the ranges that an archive holds, timelines, and what can be reached
 * with them. Positions are bigint here and text (`0/3000060`) wherever they leave the process.
 */

/** A stretch of one timeline, from the first byte up to and without the last. */
export interface WalRange {
  timeline: number;
  start: bigint;
  end: bigint;
  /** ISO-8601, the server's clock: whatever was committed before, on this timeline, lies before `end`. */
  until: string;
}

/** Where a timeline comes from, as its history file says: the oldest first, each left at a position. */
export interface TimelineHistory {
  timeline: number;
  ancestors: { timeline: number; until: bigint }[];
}

export interface WalGap {
  timeline: number;
  /** Missing from here up to there. */
  from: bigint;
  to: bigint;
}

/** `0/3000060` as a number. Throws RangeError. */
export function lsnOf(text: string): bigint {
  const [, high, low] = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text) ?? [];
  if (high === undefined || low === undefined) throw new RangeError(`${text} is no LSN`);
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}

/** As PostgreSQL prints it. */
export function lsnText(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16)}/${(lsn & 0xffffffffn).toString(16)}`.toUpperCase();
}

const hex = (value: bigint | number, digits: number) => value.toString(16).toUpperCase().padStart(digits, '0');

/** The name of the segment file that holds a position, e.g. `000000010000000000000003`. */
export function segmentName(timeline: number, lsn: bigint, segmentBytes: number): string {
  const perId = 0x100000000n / BigInt(segmentBytes);
  const segment = lsn / BigInt(segmentBytes);
  return hex(timeline, 8) + hex(segment / perId, 8) + hex(segment % perId, 8);
}

/** Timeline and first position of a segment file; null for any other name. */
export function parseSegmentName(name: string, segmentBytes: number): { timeline: number; start: bigint } | null {
  const [, timeline, id, segment] = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})$/.exec(name) ?? [];
  if (timeline === undefined || id === undefined || segment === undefined) return null;
  const perId = 0x100000000n / BigInt(segmentBytes);
  const number = BigInt(`0x${id}`) * perId + BigInt(`0x${segment}`);
  return { timeline: Number.parseInt(timeline, 16), start: number * BigInt(segmentBytes) };
}

/** `00000002.history` */
export function historyName(timeline: number): string {
  return `${hex(timeline, 8)}.history`;
}

/** Reads a history file (PostgreSQL: timeline.c): lines of parent, position of the switch, reason. */
export function parseHistory(timeline: number, text: string): TimelineHistory {
  const ancestors = text
    .split('\n')
    .map((line) => /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/.exec(line))
    .flatMap((found) => (found ? [{ timeline: Number(found[1]), until: lsnOf(found[2] ?? '') }] : []));
  return { timeline, ancestors };
}

/** A piece of the way from the first timeline to a target timeline. */
export interface PathPiece {
  timeline: number;
  start: bigint;
  /** Null: as far as it goes. */
  end: bigint | null;
}

/** The timelines that lead to one, the oldest first. A timeline without history file is taken for the first. */
export function pathTo(timeline: number, histories: TimelineHistory[]): PathPiece[] {
  const ancestors = histories.find((h) => h.timeline === timeline)?.ancestors ?? [];
  let start = 0n;
  const pieces = ancestors.map((a): PathPiece => {
    const piece = { timeline: a.timeline, start, end: a.until };
    start = a.until;
    return piece;
  });
  return [...pieces, { timeline, start, end: null }];
}

/** Ranges of one timeline, sorted, those that touch or overlap made one. */
export function mergeRanges(ranges: WalRange[], timeline: number): WalRange[] {
  const sorted = ranges.filter((r) => r.timeline === timeline).sort((a, b) => compare(a.start, b.start));
  const merged: WalRange[] = [];
  for (const range of sorted) {
    const last = merged.at(-1);
    if (!last || range.start > last.end) merged.push({ ...range });
    else if (range.end > last.end || (range.end === last.end && range.until > last.until)) {
      last.end = range.end;
      last.until = range.until;
    }
  }
  return merged;
}

/** An end of WAL, led on by the ranges that touch it, also onto newer timelines; by the first ones when there is none yet. */
export function ledOn<E extends Omit<WalRange, 'start'>>(end: E | null, ranges: WalRange[]): E | WalRange | null {
  let at: E | WalRange | null = end;
  for (const range of ranges.toSorted((a, b) => a.timeline - b.timeline || compare(a.start, b.start))) {
    const touches = !at || range.start <= at.end;
    const isLater = !at || range.timeline > at.timeline || (range.timeline === at.timeline && range.end >= at.end);
    if (touches && isLater) at = range;
  }
  return at;
}

/** What is missing between the first and the last position that an archive holds, on every way through it. */
export function gapsOf(ranges: WalRange[], histories: TimelineHistory[]): WalGap[] {
  const gaps = new Map<string, WalGap>();
  const add = (gap: WalGap) => gaps.set(`${gap.timeline}:${gap.from}`, gap);
  for (const timeline of timelinesOf(ranges)) {
    // From the oldest timeline of the way that is archived at all; what came before belongs to base backups.
    const way = pathTo(timeline, histories);
    const first = way.findIndex((piece) => mergeRanges(ranges, piece.timeline).length > 0);
    for (const [i, piece] of way.entries()) {
      if (i < first) continue;
      const merged = mergeRanges(ranges, piece.timeline);
      let at = i === first ? (merged[0]?.start ?? 0n) : piece.start;
      for (const range of merged) {
        if (piece.end !== null && range.start >= piece.end) break;
        if (range.start > at) add({ timeline: piece.timeline, from: at, to: range.start });
        if (range.end > at) at = range.end;
      }
      if (piece.end !== null && at < piece.end) add({ timeline: piece.timeline, from: at, to: piece.end });
    }
  }
  return [...gaps.values()].sort((a, b) => a.timeline - b.timeline || compare(a.from, b.from));
}

export function timelinesOf(ranges: WalRange[]): number[] {
  return [...new Set(ranges.map((r) => r.timeline))].sort((a, b) => a - b);
}

/** A base backup, as far as WAL is concerned. */
export interface BasePoint {
  id: string;
  timeline: number;
  /** Where recovery of it begins, and where it is consistent; the point itself holds the WAL between. */
  start: bigint;
  end: bigint;
  /** ISO-8601: everything that was committed before is in it. */
  capturedAt: string;
  /** ISO-8601: moments from here on can be reached; what happened between the two may be in it or not. */
  consistentAt: string;
}

export interface Reach {
  /** The last position that can be reached without a gap, and the timeline it is on. */
  timeline: number;
  lsn: bigint;
  /** ISO-8601: whatever was committed before can be reached. */
  until: string;
  /** What keeps from going on; null at the archive's end. */
  gap: WalGap | null;
}

/** How far an archive leads from a base backup, on the way to a timeline. Null when that way does not pass the backup. */
export function reachOf(
  base: BasePoint,
  timeline: number,
  ranges: WalRange[],
  histories: TimelineHistory[],
): Reach | null {
  const way = pathTo(timeline, histories);
  const first = way.findIndex((p) => p.timeline === base.timeline);
  const own = way[first];
  if (!own || (own.end !== null && own.end < base.end)) return null;
  const reach: Reach = { timeline: base.timeline, lsn: base.end, until: base.capturedAt, gap: null };
  for (const piece of way.slice(first)) {
    const range = mergeRanges(ranges, piece.timeline).find((r) => r.start <= reach.lsn && r.end >= reach.lsn);
    if (range && range.end > reach.lsn) {
      const whole = piece.end === null || range.end <= piece.end;
      reach.lsn = whole ? range.end : (piece.end ?? range.end);
      reach.timeline = piece.timeline;
      // Of a timeline that was left, what came after the switch does not count; nor does its time.
      if (whole && range.until > reach.until) reach.until = range.until;
    } else if (range && range.until > reach.until) {
      reach.until = range.until;
      reach.timeline = piece.timeline;
    }
    if (piece.end !== null && reach.lsn < piece.end) {
      return { ...reach, gap: gapAfter(reach.lsn, piece.timeline, piece.end, ranges) };
    }
    const later = mergeRanges(ranges, piece.timeline).find((r) => r.start > reach.lsn);
    if (piece.end === null && later) {
      return { ...reach, gap: { timeline: piece.timeline, from: reach.lsn, to: later.start } };
    }
  }
  return reach;
}

function gapAfter(from: bigint, timeline: number, end: bigint, ranges: WalRange[]): WalGap {
  const next = mergeRanges(ranges, timeline).find((r) => r.start > from);
  return { timeline, from, to: next && next.start < end ? next.start : end };
}

/** For sorting. */
export function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
