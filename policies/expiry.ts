import type { RetainedPoint, Verdict } from './retention.ts';

/** That a point may go was found at this moment by the store's clock, ISO-8601. */
export interface ExpiryMark {
  pointId: string;
  markedAt: string;
}

export interface ExpiryStep {
  /** May go since now. */
  mark: string[];
  /** Stays after all. */
  unmark: string[];
  /** To be removed now, in this order: what needs another comes before it. */
  remove: string[];
}

/**
 * Removing in two phases: what may go is marked, and removed when it may still go after a time of grace. A point is
 * never removed before all that need it: a chain that is cut short in the middle by a failure stays a chain.
 *
 * @param verdicts the plan of now, for the same points
 * @param graceMs time of grace in milliseconds
 */
export function expiryStep(
  points: Pick<RetainedPoint, 'pointId' | 'parent'>[],
  verdicts: Verdict[],
  marks: ExpiryMark[],
  { storeNow, graceMs }: { storeNow: string; graceMs: number },
): ExpiryStep {
  const going = new Set(verdicts.filter((v) => !v.stays).map((v) => v.pointId));
  const markedAt = new Map(marks.map((m) => [m.pointId, Date.parse(m.markedAt)]));
  const isRipe = (id: string) => going.has(id) && Date.parse(storeNow) - (markedAt.get(id) ?? Number.NaN) >= graceMs;
  const children = Map.groupBy(points, (p) => p.parent);
  const remove: string[] = [];
  let open = points.filter((p) => isRipe(p.pointId));
  for (let isMore = true; isMore; ) {
    const done = new Set(remove);
    const free = open.filter((p) => (children.get(p.pointId) ?? []).every((c) => done.has(c.pointId)));
    remove.push(...free.map((p) => p.pointId));
    open = open.filter((p) => !free.includes(p));
    isMore = free.length > 0;
  }
  return {
    mark: [...going].filter((id) => !markedAt.has(id)),
    unmark: marks.map((m) => m.pointId).filter((id) => !going.has(id)),
    remove,
  };
}
