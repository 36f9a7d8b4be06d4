import { lsnOf, type WalRange } from './wal.ts';

/** A row written to a source to be found again after a restore: what measures how much a disaster would take. */
export interface Canary {
  /** The server's clock, ISO-8601. */
  at: string;
  /** Once the WAL up to here is archived, it can be restored. */
  lsn: string;
  timeline: number;
  /** When it was written, by the clock of the machine that archives. */
  writtenAt: string;
  /** How long it took until it lay in all copies; null while it does not. */
  restorableAfterMs: number | null;
}

export interface MeasuredRpo {
  /** The newest row that can be restored: what is younger would be lost now. Null for none yet. */
  newest: { at: string; lsn: string } | null;
  /** How long that one took to get into all copies. */
  lagMs: number | null;
  /** The longest that any of the last ones took, or has taken so far. */
  worstLagMs: number | null;
  /** What the newest of those took that can be restored, the oldest first. */
  last: { at: string; afterMs: number }[];
}

/** Of one a minute, those of the last hour. */
const canariesMax = 60;

/** Enough to see how it changes. */
const lastMax = 10;

/** @param known the oldest first */
export function withWritten(known: Canary[], written: Omit<Canary, 'restorableAfterMs'>): Canary[] {
  return [...known, { ...written, restorableAfterMs: null }].slice(-canariesMax);
}

/** Those that all copies have now. */
export function withShipped(
  known: Canary[],
  shipped: Pick<WalRange, 'timeline' | 'end'> & { /** By the clock of the machine that archives. */ at: string },
): Canary[] {
  return known.map((canary) => {
    const { timeline, lsn, writtenAt, restorableAfterMs } = canary;
    const isThere = shipped.timeline > timeline || (shipped.timeline === timeline && shipped.end >= lsnOf(lsn));
    if (restorableAfterMs !== null || !isThere) return canary;
    return { ...canary, restorableAfterMs: Math.max(0, Date.parse(shipped.at) - Date.parse(writtenAt)) };
  });
}

/** @param now by the clock of the machine that archives, ISO-8601 */
export function measureRpo(known: Canary[], now: string): MeasuredRpo {
  const newest = known.findLast((c) => c.restorableAfterMs !== null);
  const lags = known.map((c) => c.restorableAfterMs ?? Date.parse(now) - Date.parse(c.writtenAt));
  return {
    newest: newest ? { at: newest.at, lsn: newest.lsn } : null,
    lagMs: newest?.restorableAfterMs ?? null,
    worstLagMs: lags.length === 0 ? null : Math.max(...lags),
    last: known
      .flatMap(({ at, restorableAfterMs: afterMs }) => (afterMs === null ? [] : [{ at, afterMs }]))
      .slice(-lastMax),
  };
}
