import { type CalendarPolicy, type ScheduledClass, scheduledClasses } from './calendar-policy.ts';
import { durationSeconds } from './duration.ts';
import { periodOf } from './period.ts';
import type { BackupClass } from './recovery-point.ts';
import type { RetentionPolicy } from './retention-policy.ts';

/** A recovery point as retention sees it. Times are the store's own, ISO-8601: what the writer says is not asked. */
export interface RetainedPoint {
  pointId: string;
  parent: string | null;
  classes: BackupClass[];
  storedAt: string;
  /** It passed validation, and its copies do not contradict. */
  validated: boolean;
  /** Its signature is that of a trusted key. */
  trusted: boolean;
  /** Until when a store locks a copy of it; null for not at all. */
  lockedUntil: string | null;
  /** Legal holds on it, in words. */
  holds: string[];
  /** Restores under way that read it: their workflows. */
  readers: string[];
}

/** Why a point stays or goes, for programs; `text` says it to people. */
export interface Reason {
  rule:
    | 'class'
    | 'manual'
    | 'last-valid'
    | 'keep-within'
    | 'minimum-age'
    | 'locked'
    | 'held'
    | 'being-restored'
    | 'needed'
    | 'not-counted'
    | 'stopped'
    | 'expired';
  text: string;
}

export interface Verdict {
  pointId: string;
  stays: boolean;
  /** At least one; of a point that goes, why nothing keeps it. */
  reasons: Reason[];
}

export interface RetentionInput {
  /** All points of one source, in any order. */
  points: RetainedPoint[];
  calendar: CalendarPolicy;
  retention: RetentionPolicy;
  /** Now, by the store's clock. */
  storeNow: string;
  /** Why nothing may go for this source until a person has decided; null when all is well. */
  stopped: string | null;
}

/**
 * Which points of a source stay and which go, each with its reasons, newest first (mission row A5). Of every class the
 * newest point of each of its last `keep` periods stays, so that no number of points made in one night pushes out
 * more than one. Only points that count make others go: validated, signed by a trusted key, with a whole chain; those
 * that do not count stay too, for a person to look at. What a point that stays needs stays with it.
 */
export function planRetention(input: RetentionInput): Verdict[] {
  const points = input.points.toSorted(newestFirst);
  const reasons = new Map<string, Reason[]>(points.map((p) => [p.pointId, []]));
  const say = (point: RetainedPoint, rule: Reason['rule'], text: string) =>
    reasons.get(point.pointId)?.push({ rule, text });
  const flaws = flawsOf(points);
  const counting = points.filter((p) => !flaws.has(p.pointId));
  const passed = sayByClass(input.calendar, counting, say);
  sayByAge(input, points, counting, say);
  for (const point of points) {
    const flaw = flaws.get(point.pointId);
    if (flaw) say(point, 'not-counted', `does not count and makes nothing go: ${flaw}; a person must look`);
    if (input.stopped !== null) say(point, 'stopped', `expiry is stopped: ${input.stopped}`);
  }
  sayNeeded(points, reasons, say);
  return points.map((point) => {
    const stay = reasons.get(point.pointId) ?? [];
    if (stay.length > 0) return { pointId: point.pointId, stays: true, reasons: stay };
    const why = passed.get(point.pointId) ?? [];
    if (point.classes.includes('manual')) why.push(`asked for by a person more than ${input.retention.keepManual} ago`);
    return { pointId: point.pointId, stays: false, reasons: why.map((text) => ({ rule: 'expired', text })) };
  });
}

type Say = (point: RetainedPoint, rule: Reason['rule'], text: string) => void;

function newestFirst(a: RetainedPoint, b: RetainedPoint): number {
  if (a.storedAt !== b.storedAt) return Date.parse(b.storedAt) - Date.parse(a.storedAt);
  return a.pointId < b.pointId ? 1 : -1;
}

/** The points that do not count, and why. A chain is as good as its worst link. */
function flawsOf(points: RetainedPoint[]): Map<string, string> {
  const byId = new Map(points.map((p) => [p.pointId, p]));
  const known = new Map<string, string | null>();
  for (const point of points) {
    // Up the chain to the first link that is known or wrong, and back: chains may be long, and may be circles.
    const path: RetainedPoint[] = [];
    let at: RetainedPoint | undefined = point;
    let flaw: string | null = null;
    while (at && !known.has(at.pointId)) {
      path.push(at);
      flaw = ownFlaw(at);
      if (flaw !== null || at.parent === null) break;
      const parent = byId.get(at.parent);
      if (!parent) flaw = `its parent ${at.parent} is missing`;
      else if (path.includes(parent)) flaw = 'its chain is a circle';
      if (flaw !== null) break;
      at = parent;
    }
    const above = at && known.get(at.pointId);
    if (flaw === null && above) flaw = inherited(at, above);
    for (const link of path.toReversed()) {
      known.set(link.pointId, flaw);
      flaw = flaw === null ? null : inherited(link, flaw);
    }
  }
  return new Map([...known].flatMap(([id, flaw]) => (flaw === null ? [] : [[id, flaw]])));
}

function inherited(parent: RetainedPoint | undefined, flaw: string): string {
  return flaw.startsWith('it needs') ? flaw : `it needs ${parent?.pointId}, which does not count either`;
}

function ownFlaw({ trusted, validated }: RetainedPoint): string | null {
  if (!trusted) return 'its signature is not that of a trusted key';
  return validated ? null : 'it did not pass validation';
}

/**
 * Keeps the newest of each of the last periods of every class.
 *
 * @param counting newest first
 * @returns for each point what its classes say against it
 */
function sayByClass(calendar: CalendarPolicy, counting: RetainedPoint[], say: Say): Map<string, string[]> {
  const passed = new Map<string, string[]>(counting.map((p) => [p.pointId, []]));
  for (const name of scheduledClasses) {
    const { keep } = calendar[name];
    let kept = 0;
    let newest = { period: Number.NaN, pointId: '' };
    for (const point of counting.filter((p) => p.classes.includes(name))) {
      const period = periodOf(calendar, name, Date.parse(point.storedAt));
      if (newest.period === period) {
        passed.get(point.pointId)?.push(`${newest.pointId} is the newer ${name} one of its ${periodWord[name]}`);
        continue;
      }
      newest = { period, pointId: point.pointId };
      kept++;
      if (kept <= keep) say(point, 'class', `${name} ${kept} of ${keep}`);
      else passed.get(point.pointId)?.push(`${name} ${kept}, and ${keep} are kept`);
    }
  }
  return passed;
}

const periodWord: Record<ScheduledClass, string> = {
  hourly: 'hours',
  daily: 'day',
  weekly: 'week',
  monthly: 'month',
  yearly: 'year',
};

function sayByAge(
  { retention, storeNow }: RetentionInput,
  points: RetainedPoint[],
  counting: RetainedPoint[],
  say: Say,
): void {
  const now = Date.parse(storeNow);
  const newest = counting[0];
  if (newest) say(newest, 'last-valid', 'the newest point that counts');
  const before = (instant: number, duration: string) => instant - durationSeconds(duration) * 1000;
  const young = before(now, retention.minimumAge);
  const near = newest ? before(Date.parse(newest.storedAt), retention.keepWithin) : Number.POSITIVE_INFINITY;
  const asked = before(now, retention.keepManual);
  for (const point of points) {
    const storedAt = Date.parse(point.storedAt);
    if (storedAt > young) say(point, 'minimum-age', `younger than ${retention.minimumAge}`);
    if (storedAt > near) say(point, 'keep-within', `within ${retention.keepWithin} of the newest`);
    if (point.classes.includes('manual') && storedAt > asked) {
      say(point, 'manual', `asked for by a person within ${retention.keepManual}`);
    }
    if (point.lockedUntil !== null && Date.parse(point.lockedUntil) > now) {
      say(point, 'locked', `locked until ${point.lockedUntil}`);
    }
    for (const hold of point.holds) say(point, 'held', `held: ${hold}`);
    for (const reader of point.readers) say(point, 'being-restored', `being restored by ${reader}`);
  }
}

/** What stays keeps its whole chain: parents, and theirs. */
function sayNeeded(points: RetainedPoint[], reasons: Map<string, Reason[]>, say: Say): void {
  const byId = new Map(points.map((p) => [p.pointId, p]));
  const done = new Set<string>();
  for (const point of points) {
    let child = point;
    while ((reasons.get(child.pointId)?.length ?? 0) > 0 && child.parent !== null && !done.has(child.pointId)) {
      done.add(child.pointId);
      const parent = byId.get(child.parent);
      if (!parent) break;
      say(parent, 'needed', `needed by ${child.pointId}`);
      child = parent;
    }
  }
}
