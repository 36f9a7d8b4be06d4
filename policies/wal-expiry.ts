import { durationSeconds } from './duration.ts';
import type { Policy } from './policy.ts';
import type { KnownPoint, SourceExpiry } from './source-expiry.ts';
import { lsnText, type WalRange } from './wal.ts';
import { mayExpireWal, type WalPoint, walNeed } from './wal-retention.ts';

/** That nothing needed the WAL before a position was found at a moment by the store's clock, ISO-8601. */
export interface WalMark {
  from: string;
  markedAt: string;
}

/**
 * The position from which on the points that stay, and the time within which every moment is promised, need the WAL of a
 * source. Null where no such point stays: then nothing is known to be needless. What makes a point consistent is in the
 * point itself, so that of what lies before nothing is needed for itself.
 */
export function walNeededFrom(
  known: KnownPoint[],
  { points, verdicts }: Pick<SourceExpiry, 'points' | 'verdicts'>,
  { retention }: Pick<Policy, 'retention'>,
  storeNow: string,
): string | null {
  const kept = points.flatMap(({ pointId, parent, storedAt, validated, trusted }): WalPoint[] => {
    const { startLsn, endLsn } = known.find((k) => k.backup.id === pointId)?.backup.facts ?? {};
    const stays = verdicts.some((v) => v.pointId === pointId && v.stays);
    if (!stays || !validated || !trusted || typeof startLsn !== 'string' || typeof endLsn !== 'string') return [];
    return [{ pointId, parent, storedAt, walStart: startLsn, walStop: endLsn }];
  });
  return walNeed(kept, { storeNow, windowMs: durationSeconds(retention.pointInTime) * 1000 }).from;
}

/** The newest mark whose grace is over; null for none. */
export function ripeMark(
  marks: WalMark[],
  { storeNow, graceMs }: { storeNow: string; graceMs: number },
): WalMark | null {
  const ripe = marks.filter((m) => Date.parse(storeNow) - Date.parse(m.markedAt) >= graceMs);
  return ripe.sort((a, b) => Date.parse(a.markedAt) - Date.parse(b.markedAt)).at(-1) ?? null;
}

/**
 * Removing WAL in two phases: a range goes when nothing needs it now, and nothing needed it when the mark was set, at
 * which time it lay there already.
 *
 * @param range with the time at which it was stored, by the store's clock
 */
export function mayRemoveWal(
  { start, end, storedAt }: Pick<WalRange, 'start' | 'end'> & { storedAt: string },
  neededFrom: string | null,
  mark: WalMark,
): boolean {
  if (neededFrom === null || Date.parse(storedAt) > Date.parse(mark.markedAt)) return false;
  const stretch = { start: lsnText(start), end: lsnText(end) };
  return [neededFrom, mark.from].every((from) => mayExpireWal({ from, ranges: [] }, stretch));
}
