import { formatBytes } from './progress.ts';
import type { Level } from './recovery-point.ts';
import { medianOf } from './robust.ts';
import type { Measured } from './simulation-input.ts';

/** What is known of a recovery point of a source. */
export interface MeasurablePoint {
  pointId: string;
  parent: string | null;
  level: Level;
  /** ISO-8601. */
  capturedAt: string;
  storedBytes: number;
}

/** What is taken for true where there are no points that tell. */
export interface Assumptions {
  /** Stored bytes of a full backup. */
  fullBytes: number;
  /** Share that is different after a day. */
  changePerDay: number;
  growthPerYear: number;
  /** Full restores of each source in a year, drills among them. */
  restoresPerYear: number;
}

export interface SourceMeasure {
  values: Measured;
  /** Of each value how it is known, in words. */
  basis: { fullBytes: string; changePerDay: string; growthPerYear: string };
}

const dayMs = 86_400_000;
const yearMs = 365.25 * dayMs;
/** Growth over less than this says nothing of a year. */
const growthFromMs = 30 * dayMs;

/**
 * What the points of a source tell of its size and its changes; the rest is assumed.
 *
 * @param restoreCopy the copy that restores read
 */
export function measureSource(points: MeasurablePoint[], assumed: Assumptions, restoreCopy: string): SourceMeasure {
  const fulls = points
    .filter((p) => p.level === 'full')
    .sort((a, b) => Date.parse(a.capturedAt) - Date.parse(b.capturedAt));
  const newest = fulls.at(-1);
  const changes = newest ? changesOf(points, newest.storedBytes) : [];
  const growth = growthOf(fulls);
  const percent = (share: number) => `${Number((share * 100).toPrecision(2))} %`;
  return {
    values: {
      fullBytes: newest?.storedBytes ?? assumed.fullBytes,
      changePerDay: changes.length > 0 ? medianOf(changes) : assumed.changePerDay,
      growthPerYear: growth ?? assumed.growthPerYear,
      restores: assumed.restoresPerYear > 0 ? { perYear: assumed.restoresPerYear, copy: restoreCopy } : null,
    },
    basis: {
      fullBytes: newest
        ? `${formatBytes(newest.storedBytes)}, as ${newest.pointId}`
        : `${formatBytes(assumed.fullBytes)}, assumed`,
      changePerDay:
        changes.length > 0
          ? `${percent(medianOf(changes))} a day, median of ${changes.length}`
          : `${percent(assumed.changePerDay)} a day, assumed`,
      growthPerYear:
        growth === null
          ? `${percent(assumed.growthPerYear)} a year, assumed`
          : `${percent(growth)} a year, since ${fulls[0]?.capturedAt.slice(0, 10)}`,
    },
  };
}

/** Shares that changed in a day, of every point that stores a difference: as the simulation reckons, backwards. */
function changesOf(points: MeasurablePoint[], fullBytes: number): number[] {
  const byId = new Map(points.map((p) => [p.pointId, p]));
  return points.flatMap((point) => {
    const parent = point.parent === null ? undefined : byId.get(point.parent);
    if (!parent || fullBytes === 0) return [];
    const days = (Date.parse(point.capturedAt) - Date.parse(parent.capturedAt)) / dayMs;
    if (days <= 0) return [];
    return [1 - (1 - Math.min(1, point.storedBytes / fullBytes)) ** (1 / days)];
  });
}

function growthOf(fulls: MeasurablePoint[]): number | null {
  const [first, last] = [fulls[0], fulls.at(-1)];
  if (!first || !last || first.storedBytes === 0 || last.storedBytes === 0) return null;
  const ms = Date.parse(last.capturedAt) - Date.parse(first.capturedAt);
  return ms < growthFromMs ? null : (last.storedBytes / first.storedBytes) ** (yearMs / ms) - 1;
}
