import { eligibleAfter, type Ladder } from './tiers.ts';
import type { TimelinePoint } from './timeline.ts';

/** A copy as the simulation needs it. */
export interface SimulatedCopy {
  name: string;
  ladder: Ladder;
  /** Milliseconds after which a point is removed here, null for never before the others. */
  pruneAfterMs: number | null;
}

/** A stretch of time that a point lies on one step of a copy's ladder. Times are milliseconds since 1970. */
export interface Stay {
  point: number;
  step: number;
  from: number;
  /** Infinity when it is still there at the end. */
  to: number;
}

/**
 * Where the points of a timeline lie in one copy, and when: pruned as `planPrune` does it (never the newest, nor what
 * another one there needs), moved as `planTierMoves` does it (nothing is frozen that something readable needs).
 */
export function staysOf(points: TimelinePoint[], { ladder, pruneAfterMs }: SimulatedCopy): Stay[] {
  const nextFull = followingFulls(points);
  const gone = points.map((point, i) => {
    if (pruneAfterMs === null) return point.goneAt;
    // The newest stays, and the newest full one: a backup that is under way may build upon either.
    const next = point.level === 'full' ? points[nextFull[i] ?? -1] : points[i + 1];
    const succeeded = next?.at ?? Number.POSITIVE_INFINITY;
    return Math.min(point.goneAt, Math.max(point.at + pruneAfterMs, succeeded));
  });
  // What a point needs that is still there stays with it: children come after their parents, so from the end.
  for (let i = points.length - 1; i >= 0; i--) {
    const parent = points[i]?.parent;
    if (parent !== null && parent !== undefined) gone[parent] = Math.max(gone[parent] ?? 0, gone[i] ?? 0);
  }
  // From when on each point may lie on each step: children come after their parents, so from the end.
  const since = points.map((point) =>
    ladder.map((_, step) => {
      const after = eligibleAfter(ladder, step, point.classes);
      return after === null ? Number.POSITIVE_INFINITY : point.at + after;
    }),
  );
  for (let i = points.length - 1; i >= 0; i--) {
    const parent = points[i]?.parent;
    if (parent === null || parent === undefined) continue;
    // As long as a child exists and is readable at once, so is its parent.
    const held = Math.min(frozenFrom(ladder, since[i] ?? []), gone[i] ?? 0);
    const above = since[parent] ?? [];
    for (const [step, tier] of ladder.entries()) {
      if (step > 0 && tier.thaw !== undefined) above[step] = Math.max(above[step] ?? 0, held);
    }
  }
  return points.flatMap((point, i) => staysOfPoint(i, point.at, gone[i] ?? point.at, since[i] ?? []));
}

/** For each point the index of the next full one; -1 where none follows. */
function followingFulls(points: TimelinePoint[]): number[] {
  const next: number[] = Array(points.length).fill(-1);
  for (let i = points.length - 2; i >= 0; i--) next[i] = points[i + 1]?.level === 'full' ? i + 1 : (next[i + 1] ?? -1);
  return next;
}

/** From when on a point may lie where it has to be thawed. */
function frozenFrom(ladder: Ladder, since: number[]): number {
  return Math.min(...since.filter((_, step) => step > 0 && ladder[step]?.thaw !== undefined));
}

function staysOfPoint(point: number, at: number, gone: number, since: number[]): Stay[] {
  const stays: Stay[] = [];
  let [step, from] = [0, at];
  const moves = since.map((when, to) => ({ to, when })).filter((m) => m.to > 0 && m.when < gone);
  for (const { to, when } of moves.sort((a, b) => a.when - b.when || b.to - a.to)) {
    if (to <= step) continue;
    if (when > from) stays.push({ point, step, from, to: when });
    step = to;
    from = Math.max(from, when);
  }
  stays.push({ point, step, from, to: gone });
  return stays;
}
