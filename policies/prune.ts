import { durationSeconds } from './duration.ts';
import type { CopyPolicy } from './policy.ts';
import type { Level } from './recovery-point.ts';

/** One point of a source, as the catalog knows it. */
export interface PrunablePoint {
  pointId: string;
  /** The point that it needs. */
  parent: string | null;
  level: Level;
  /** A legal hold is on it, or a restore that is under way reads it. */
  held?: boolean;
  copies: {
    copy: string;
    state: 'verified' | 'failed' | 'pruned';
    publishedAt: string | null;
    /** Until when the store lets nobody remove it. */
    lockedUntil?: string | null;
  }[];
}

export interface PruneStep {
  pointId: string;
  /** The point that it needs, which must stay there for as long. */
  parent: string | null;
  /** The copy to remove. */
  copy: string;
  /** The copies that must prove they have it first. */
  others: string[];
}

/**
 * Which copies may go (mission row B6): older than the copy's `pruneAfter` by the store's own clock, while every other
 * copy of the policy holds the point verified, and at least one other exists. The newest that lies there stays, the
 * newest full one, for a backup that is under way may build upon either, and so does what is locked or held, and
 * whatever a point that stays there needs. What needs another comes before it: whoever cannot remove the one must leave
 * the other.
 *
 * @param points of one source, newest first
 * @param now ISO-8601
 */
export function planPrune(copies: CopyPolicy[], points: PrunablePoint[], now: string): PruneStep[] {
  const steps: PruneStep[] = [];
  for (const copy of copies) {
    if (copy.pruneAfter === undefined) continue;
    const limit = Date.parse(now) - durationSeconds(copy.pruneAfter) * 1000;
    const others = copies.filter((c) => c.name !== copy.name).map((c) => c.name);
    if (others.length === 0) continue;
    const newest = newestIn(copy.name, points);
    const newestFull = newestIn(
      copy.name,
      points.filter((p) => p.level === 'full'),
    );
    const old = new Map<string, PruneStep>();
    for (const point of points) {
      if (point === newest || point === newestFull || point.held) continue;
      const here = point.copies.find((c) => c.copy === copy.name);
      if (here?.state !== 'verified' || here.publishedAt === null || Date.parse(here.publishedAt) > limit) continue;
      if (here.lockedUntil && Date.parse(here.lockedUntil) > Date.parse(now)) continue;
      const safe = others.every((o) => point.copies.some((c) => c.copy === o && c.state === 'verified'));
      if (safe) old.set(point.pointId, { pointId: point.pointId, parent: point.parent, copy: copy.name, others });
    }
    steps.push(...inOrder(copy.name, points, old));
  }
  return steps;
}

/** Of the copies that may go, those that no point needs which stays there, and what needs another before it. */
function inOrder(copy: string, points: PrunablePoint[], old: Map<string, PruneStep>): PruneStep[] {
  const here = points.filter((p) => p.copies.some((c) => c.copy === copy && c.state === 'verified'));
  const children = Map.groupBy(here, (p) => p.parent);
  const going: PruneStep[] = [];
  const gone = new Set<string>();
  for (let isMore = true; isMore; ) {
    const free = [...old.values()].filter(
      (s) => !gone.has(s.pointId) && (children.get(s.pointId) ?? []).every((c) => gone.has(c.pointId)),
    );
    going.push(...free);
    for (const { pointId } of free) gone.add(pointId);
    isMore = free.length > 0;
  }
  return going;
}

/** By the store's clock: what a point says of itself may be made up, so that others look old beside it. */
function newestIn(copy: string, points: PrunablePoint[]): PrunablePoint | undefined {
  const publishedAt = (point: PrunablePoint) => {
    const here = point.copies.find((c) => c.copy === copy && c.state === 'verified');
    return here?.publishedAt ? Date.parse(here.publishedAt) : Number.NEGATIVE_INFINITY;
  };
  return points.toSorted((a, b) => publishedAt(b) - publishedAt(a))[0];
}
