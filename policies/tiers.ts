import { durationSeconds } from './duration.ts';
import type { BackupClass } from './recovery-point.ts';
import type { TierPolicy } from './tier-policy.ts';

/** The tiers that points of one copy lie in, in the order in which they get there. The first takes what is new. */
export type Ladder = TierPolicy[];

/**
 * The ladder of a copy. Tiers that the policy does not have are left out; the cross-check refuses them.
 *
 * @param copy the tier that new points go to, and those that they move to later
 */
export function ladderOf(tiers: TierPolicy[], copy: { tier: string; moves: { to: string }[] }): Ladder {
  return [copy.tier, ...copy.moves.map((m) => m.to)].flatMap((name) => tiers.find((t) => t.name === name) ?? []);
}

/** Milliseconds from when on a point may lie on a step of the ladder; null when its classes never let it. */
export function eligibleAfter(ladder: Ladder, step: number, classes: BackupClass[]): number | null {
  if (step === 0) return 0;
  const tier = ladder[step];
  if (!tier || (tier.classes && !tier.classes.some((c) => classes.includes(c)))) return null;
  return tier.after === undefined ? 0 : durationSeconds(tier.after) * 1000;
}

/** The last step of the ladder that a point of an age may lie on by itself, of all or of those that need no thaw. */
function stepFor(ladder: Ladder, classes: BackupClass[], ageMs: number, which: 'all' | 'at once' = 'all'): number {
  return ladder.findLastIndex((tier, step) => {
    const after = eligibleAfter(ladder, step, classes);
    return after !== null && ageMs >= after && (which === 'all' || step === 0 || tier.thaw === undefined);
  });
}

/** A point as one copy holds it. Times are the store's own. */
export interface TieredPoint {
  pointId: string;
  parent: string | null;
  classes: BackupClass[];
  storedAt: string;
  /** Name of the tier that it lies in now. */
  tier: string;
}

export interface TierMove {
  pointId: string;
  from: string;
  to: string;
}

/**
 * Which points of a copy move to a later tier of its ladder, and where to (mission row F1). Nothing is frozen that
 * something readable needs: a restore from a chain must not have to wait for its full to thaw. Nothing moves back.
 *
 * @param points all of one source in this copy, in any order
 */
export function planTierMoves(ladder: Ladder, points: TieredPoint[], storeNow: string): TierMove[] {
  const age = (point: TieredPoint) => Date.parse(storeNow) - Date.parse(point.storedAt);
  const readable = neededReadable(points, (p) => ladder[stepFor(ladder, p.classes, age(p))]?.thaw === undefined);
  return points.flatMap((point) => {
    const from = ladder.findIndex((t) => t.name === point.tier);
    const to = stepFor(ladder, point.classes, age(point), readable.has(point.pointId) ? 'at once' : 'all');
    const tier = ladder[to];
    return tier && from >= 0 && to > from ? [{ pointId: point.pointId, from: point.tier, to: tier.name }] : [];
  });
}

/** The points that are to be readable at once by themselves, and all that those need. */
function neededReadable(points: TieredPoint[], isReadable: (point: TieredPoint) => boolean): Set<string> {
  const byId = new Map(points.map((p) => [p.pointId, p]));
  const readable = new Set<string>();
  for (const point of points.filter(isReadable)) {
    let at: TieredPoint | undefined = point;
    while (at && !readable.has(at.pointId)) {
      readable.add(at.pointId);
      at = at.parent === null ? undefined : byId.get(at.parent);
    }
  }
  return readable;
}
