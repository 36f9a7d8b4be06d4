import { Failure } from './failure.ts';
import {
  type BasePoint,
  compare,
  lsnText,
  pathTo,
  type Reach,
  reachOf,
  type TimelineHistory,
  timelinesOf,
  type WalRange,
} from './wal.ts';

/** The moment to come back to. */
export type RecoveryTarget =
  /** As far as the archive goes. */
  | { kind: 'latest' }
  /** ISO-8601: with all that was committed up to then. */
  | { kind: 'time'; at: string }
  /** With the record that begins there. */
  | { kind: 'lsn'; lsn: bigint }
  /** With this transaction. */
  | { kind: 'xid'; xid: number }
  /** pg_create_restore_point(name); of several, the last one. */
  | { kind: 'name'; name: string };

/** What the signed line of a range says about what happened within; see wal-bundle.ts. */
export interface Happenings {
  transactions: { count: number; lastAt: string | null; xids: { min: number; max: number } | null };
  restorePoints: { name: string; lsn: bigint; at: string }[];
}

export interface ArchiveView {
  bases: BasePoint[];
  ranges: (WalRange & { key: string })[];
  histories: TimelineHistory[];
  /** Of ranges by key; those that nobody looked into are not there. */
  happenings: Map<string, Happenings>;
}

export interface RecoveryPlan {
  base: BasePoint;
  /** To be followed. */
  timeline: number;
  reach: Reach;
  /** What the server is told to stop at; null: at the end of what there is. */
  stop: { setting: 'recovery_target_time' | 'recovery_target_lsn' | 'recovery_target_xid'; value: string } | null;
}

/**
 * The base backup to begin with, and where to stop. Throws PointUnknown when the moment cannot be reached, saying which
 * is the nearest that can.
 *
 * @param timeline to be followed; absent: the newest
 */
export function planRecovery(view: ArchiveView, target: RecoveryTarget, timeline?: number): RecoveryPlan {
  const { ranges, histories, bases } = view;
  const known = [
    ...new Set([...timelinesOf(ranges), ...histories.map((h) => h.timeline), ...bases.map((b) => b.timeline)]),
  ];
  if (bases.length === 0) {
    throw refused(
      'There is no base backup here to begin with.',
      'Name another copy with --from, or take a base backup.',
    );
  }
  const followed = timeline ?? Math.max(...known, 1);
  if (!known.includes(followed)) {
    throw refused(`The archive has no timeline ${followed}.`, `It has: ${known.sort((a, b) => a - b).join(', ')}.`);
  }
  const candidates = bases
    .map((base) => ({ base, reach: reachOf(base, followed, ranges, histories) }))
    .filter((c): c is { base: BasePoint; reach: Reach } => c.reach !== null)
    .sort((a, b) => compare(b.base.end, a.base.end));
  const [newest] = candidates;
  if (!newest) {
    throw refused(
      `No base backup leads onto timeline ${followed}.`,
      'Choose another timeline, or an earlier copy of the archive.',
    );
  }
  switch (target.kind) {
    case 'latest':
      return { ...newest, timeline: followed, stop: null };
    case 'time':
      return byTime(view, candidates, followed, new Date(target.at).toISOString());
    case 'lsn':
      return byLsn(candidates, followed, target.lsn);
    case 'name':
      return byName(view, candidates, followed, target.name);
    case 'xid':
      return byXid(view, candidates, followed, target.xid);
  }
}

type Candidate = { base: BasePoint; reach: Reach };

function byTime(view: ArchiveView, candidates: Candidate[], timeline: number, at: string): RecoveryPlan {
  const before = candidates.filter((c) => c.base.consistentAt <= at);
  if (before.length === 0) {
    const first = candidates.at(-1)?.base;
    throw refused(
      `${at} lies before every base backup that leads onto timeline ${timeline}.`,
      `The earliest moment that can be reached is ${first?.consistentAt}, with ${first?.id} as it is.`,
    );
  }
  const found = before.find((c) => at <= c.reach.until);
  if (!found) throw beyond(at, before);
  const later = rangesOnWay(view, found, timeline).some((r) => {
    const happened = view.happenings.get(r.key);
    return happened === undefined || (happened.transactions.lastAt !== null && happened.transactions.lastAt > at);
  });
  // Where nothing ended later, the server would wait for something to stop at, and say that it never came.
  return { ...found, timeline, stop: later ? { setting: 'recovery_target_time', value: at } : null };
}

function beyond(at: string, candidates: Candidate[]): Failure {
  const best = candidates.toSorted((a, b) => (a.reach.until < b.reach.until ? 1 : -1))[0];
  const gap = best?.reach.gap;
  return refused(
    gap
      ? `${at} cannot be reached: WAL from ${lsnText(gap.from)} to ${lsnText(gap.to)} of timeline ${gap.timeline} is missing.`
      : `${at} cannot be reached: the archive ends before.`,
    `The nearest moment that can be reached is ${best?.reach.until}.`,
  );
}

function byLsn(candidates: Candidate[], timeline: number, lsn: bigint): RecoveryPlan {
  const before = candidates.filter((c) => c.base.end <= lsn);
  if (before.length === 0) {
    const first = candidates.at(-1)?.base;
    throw refused(
      `${lsnText(lsn)} lies before every base backup that leads onto timeline ${timeline}.`,
      `The earliest position that can be reached is ${lsnText(first?.end ?? 0n)}, with ${first?.id} as it is.`,
    );
  }
  const found = before.find((c) => lsn < c.reach.lsn);
  if (found) return { ...found, timeline, stop: { setting: 'recovery_target_lsn', value: lsnText(lsn) } };
  // The end itself is where everything there is leads to.
  const exact = before.find((c) => lsn === c.reach.lsn);
  if (exact) return { ...exact, timeline, stop: null };
  const best = before.toSorted((a, b) => compare(b.reach.lsn, a.reach.lsn))[0];
  const gap = best?.reach.gap;
  throw refused(
    gap
      ? `${lsnText(lsn)} cannot be reached: WAL from ${lsnText(gap.from)} to ${lsnText(gap.to)} of timeline ${gap.timeline} is missing.`
      : `${lsnText(lsn)} cannot be reached: the archive ends before.`,
    `The nearest position that can be reached is ${lsnText(best?.reach.lsn ?? 0n)}.`,
  );
}

function byName(view: ArchiveView, candidates: Candidate[], timeline: number, name: string): RecoveryPlan {
  const names = new Map<string, bigint>();
  for (const range of rangesOnWay(view, null, timeline)) {
    for (const point of view.happenings.get(range.key)?.restorePoints ?? []) {
      const last = names.get(point.name);
      if (last === undefined || point.lsn > last) names.set(point.name, point.lsn);
    }
  }
  const lsn = names.get(name);
  if (lsn !== undefined) return byLsn(candidates, timeline, lsn);
  const known = [...names.keys()];
  throw refused(
    `The archive has no restore point "${name}" on the way to timeline ${timeline}.`,
    known.length === 0
      ? 'It has none at all; name a time instead.'
      : `It has: ${known.slice(-10).join(', ')}${known.length > 10 ? ', and earlier ones' : ''}.`,
  );
}

function byXid(view: ArchiveView, candidates: Candidate[], timeline: number, xid: number): RecoveryPlan {
  const way = rangesOnWay(view, null, timeline);
  const range = way.find((r) => {
    const xids = view.happenings.get(r.key)?.transactions.xids;
    return xids && xids.min <= xid && xid <= xids.max;
  });
  if (!range) {
    const seen = way.flatMap((r) => view.happenings.get(r.key)?.transactions.xids ?? []);
    throw refused(
      `The archive holds no end of a transaction ${xid} on the way to timeline ${timeline}.`,
      seen.length === 0
        ? 'Name a time instead.'
        : `It holds transactions ${Math.min(...seen.map((s) => s.min))} to ${Math.max(...seen.map((s) => s.max))}.`,
    );
  }
  // Begun before the range that may hold its end: recovery must come by it.
  const found = candidates.find((c) => c.base.end <= range.start && range.start < c.reach.lsn);
  if (found) return { ...found, timeline, stop: { setting: 'recovery_target_xid', value: String(xid) } };
  const within = candidates.find((c) => c.base.end < range.end && range.start < c.reach.lsn);
  if (within) return { ...within, timeline, stop: { setting: 'recovery_target_xid', value: String(xid) } };
  throw refused(
    `Transaction ${xid} ended before every base backup that leads onto timeline ${timeline}, or behind a gap.`,
    `The earliest moment that can be reached is ${candidates.at(-1)?.base.consistentAt}.`,
  );
}

/** The ranges that recovery may come by, in order; from a base backup on, when one is given. */
export function rangesOnWay(
  { ranges, histories }: Pick<ArchiveView, 'ranges' | 'histories'>,
  from: { base: BasePoint; reach: Reach } | null,
  timeline: number,
): (WalRange & { key: string })[] {
  const way = pathTo(timeline, histories);
  return way.flatMap((piece) =>
    ranges
      .filter((r) => r.timeline === piece.timeline)
      .filter((r) => (piece.end === null || r.start < piece.end) && r.end > piece.start)
      .filter((r) => from === null || (r.end > from.base.end && r.start < from.reach.lsn))
      .sort((a, b) => compare(a.start, b.start)),
  );
}

function refused(message: string, next: string): Failure {
  return new Failure('PointUnknown', message, { next });
}
