import { lsnOf } from './wal.ts';

/** A kept point of a physical PostgreSQL source. WAL positions are as PostgreSQL writes them: `16/B374D848`. */
export interface WalPoint {
  pointId: string;
  parent: string | null;
  /** By the store's clock, ISO-8601. */
  storedAt: string;
  /** Where replay of the point begins, and where it is consistent. */
  walStart: string;
  walStop: string;
}

/** What must be kept: everything from `from` on, and each range on its own account. Null: nothing but the ranges. */
export interface WalNeed {
  from: string | null;
  ranges: { start: string; stop: string }[];
}

/**
 * The WAL that kept points need. So that every moment of the window can be restored, all of it from the beginning of
 * the chain that was the newest when the window began; of older points only what makes each of them consistent. Of
 * several timelines the same positions are kept in all.
 *
 * @param kept the points of a source that retention keeps and that count
 */
export function walNeed(kept: WalPoint[], { storeNow, windowMs }: { storeNow: string; windowMs: number }): WalNeed {
  const begins = Date.parse(storeNow) - windowMs;
  const byTime = kept.toSorted((a, b) => Date.parse(a.storedAt) - Date.parse(b.storedAt));
  const base = byTime.findLast((p) => Date.parse(p.storedAt) <= begins) ?? byTime[0];
  const ranges = kept.map((p) => ({ start: p.walStart, stop: p.walStop }));
  if (!base) return { from: null, ranges };
  const inWindow = byTime.slice(byTime.indexOf(base));
  // A point on a timeline that began earlier, after a restore, may begin before the base.
  const starts = inWindow.map((p) => rootOf(kept, p).walStart);
  return { from: starts.reduce((a, b) => (lsnOf(b) < lsnOf(a) ? b : a)), ranges };
}

/** Whether nothing needs a stretch of WAL, `start` included and `end` not. */
export function mayExpireWal(need: WalNeed, { start, end }: { start: string; end: string }): boolean {
  if (need.from !== null && lsnOf(end) > lsnOf(need.from)) return false;
  return need.ranges.every((r) => lsnOf(end) <= lsnOf(r.start) || lsnOf(start) > lsnOf(r.stop));
}

function rootOf(kept: WalPoint[], point: WalPoint): WalPoint {
  const seen = new Set<string>();
  let at = point;
  while (at.parent !== null && !seen.has(at.pointId)) {
    seen.add(at.pointId);
    const parent = kept.find((p) => p.pointId === at.parent);
    if (!parent) break;
    at = parent;
  }
  return at;
}
