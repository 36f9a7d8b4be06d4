import { type ClockChange, clockChanges } from './calendar.ts';
import { type CalendarPolicy, scheduledClasses } from './calendar-policy.ts';
import { durationSeconds } from './duration.ts';
import type { ExpiryMark } from './expiry.ts';
import { lockFor, longestDays } from './lock.ts';
import type { Policy } from './policy.ts';
import type { BackupClass } from './recovery-point.ts';
import { simulate } from './simulate.ts';
import { type Measured, simulationInput } from './simulation-input.ts';
import { judgeSource, type KnownPoint, type SourceExpiry } from './source-expiry.ts';

/** What a policy would do to the points that there are, beside what was promised before. */

export interface ImpactPoint extends KnownPoint {
  copies: (KnownPoint['copies'][number] & { copy: string })[];
}

export interface SourceInput {
  source: string;
  points: ImpactPoint[];
  marks: ExpiryMark[];
  /** Ids of points that were suddenly different, and that a person has found in order. */
  decided: string[];
}

export interface ChangedPoint {
  source: string;
  pointId: string;
  classes: BackupClass[];
  storedAt: string;
  /** When it is removed at the earliest; null when it stays. */
  goesAt: string | null;
  /** Why it goes or stays by the new policy. */
  why: string[];
}

/** A full point with all that is built upon it, some of which goes. */
export interface CutChain {
  source: string;
  /** The full point that it begins with. */
  full: string;
  points: number;
  goes: number;
}

export interface PolicyImpact {
  /** Nothing was applied before: then all that goes is named. */
  isFirst: boolean;
  /** Points that go, and would have stayed. Of a source whose expiry is stopped nothing goes. */
  goes: ChangedPoint[];
  /** Points that would have gone, and stay. */
  stays: ChangedPoint[];
  chains: CutChain[];
  /** One line each. */
  lockConflicts: string[];
  /** Moments of the calendars that a change of the clock meets within a year. */
  clock: (ClockChange & { timeZone: string; sources: string[] })[];
  cost: { years: number; before: number | null; after: number };
}

export interface ImpactInput {
  after: Policy;
  /** As it was promised before; null when nothing was. */
  before: Policy | null;
  sources: SourceInput[];
  /** Now, by the stores' clocks. */
  storeNow: string;
  /** What is known or assumed of each source's size, for the cost. */
  measured: ReadonlyMap<string, Measured>;
  years: number;
}

const dayMs = 86_400_000;

export function impactOf({ after, before, sources, storeNow, measured, years }: ImpactInput): PolicyImpact {
  const goes: ChangedPoint[] = [];
  const stays: ChangedPoint[] = [];
  const chains: CutChain[] = [];
  const lockConflicts = lockedForLonger(after);
  for (const input of sources) {
    const now = judgeSource({ policy: after, storeNow, ...input });
    const was = before ? judgeSource({ policy: before, storeNow, ...input }) : null;
    const stayed = new Map(was?.verdicts.map((v) => [v.pointId, v.stays]));
    for (const verdict of now.verdicts) {
      if ((stayed.get(verdict.pointId) ?? true) === verdict.stays) continue;
      (verdict.stays ? stays : goes).push(changed(after, input, now, verdict.pointId, storeNow));
    }
    chains.push(...cutChains(input.source, now));
    lockConflicts.push(...onlyLocked(input.source, now, was), ...lockedForLess(after, input));
  }
  return {
    isFirst: before === null,
    goes,
    stays,
    chains,
    lockConflicts,
    clock: clockOf(after, storeNow),
    cost: {
      years,
      before: before && simulate(simulationInput(before, measured, { from: storeNow, years })).dollars,
      after: simulate(simulationInput(after, measured, { from: storeNow, years })).dollars,
    },
  };
}

function changed(
  { retention }: Policy,
  { source, marks }: SourceInput,
  { points, verdicts }: SourceExpiry,
  pointId: string,
  storeNow: string,
): ChangedPoint {
  const point = points.find((p) => p.pointId === pointId);
  const verdict = verdicts.find((v) => v.pointId === pointId);
  const markedAt = marks.find((m) => m.pointId === pointId)?.markedAt ?? storeNow;
  const goesAt = new Date(Date.parse(markedAt) + durationSeconds(retention.grace) * 1000).toISOString();
  return {
    source,
    pointId,
    classes: point?.classes ?? [],
    storedAt: point?.storedAt ?? '',
    goesAt: verdict?.stays ? null : goesAt,
    why: verdict?.reasons.map((r) => r.text) ?? [],
  };
}

/** Chains of more than one point of which some go. What stays keeps all that it needs, so it is their ends that go. */
function cutChains(source: string, { points, verdicts }: SourceExpiry): CutChain[] {
  const parents = new Map(points.map((p) => [p.pointId, p.parent]));
  const fullOf = (pointId: string) => {
    const seen = new Set<string>();
    let at = pointId;
    for (let parent = parents.get(at); parent && parents.has(parent) && !seen.has(parent); parent = parents.get(at)) {
      seen.add(parent);
      at = parent;
    }
    return at;
  };
  return [...Map.groupBy(verdicts, (v) => fullOf(v.pointId))].flatMap(([full, chain]) => {
    const goes = chain.filter((v) => !v.stays).length;
    return goes === 0 || chain.length === 1 ? [] : [{ source, full, points: chain.length, goes }];
  });
}

/** Points that the new policy lets go and that stay for their locks alone. */
function onlyLocked(source: string, now: SourceExpiry, was: SourceExpiry | null): string[] {
  const isOnlyLocked = ({ verdicts }: SourceExpiry, pointId: string) =>
    verdicts.find((v) => v.pointId === pointId)?.reasons.every((r) => r.rule === 'locked') ?? false;
  return now.points
    .filter((p) => isOnlyLocked(now, p.pointId) && !(was && isOnlyLocked(was, p.pointId)))
    .map((p) => `${source}: ${p.pointId} is let go, and stays: it is locked until ${p.lockedUntil}`);
}

/** Points of classes that are now promised a lock which those that they have do not reach. */
function lockedForLess(policy: Policy, { source, points }: SourceInput): string[] {
  const calendar = calendarOf(policy, source);
  return policy.copies.flatMap((copy) => {
    const short = points.filter(({ backup, copies }) => {
      const lock = lockFor(copy, calendar, backup.classes);
      const here = copies.find((c) => c.copy === copy.name && c.state === 'verified');
      if (!lock || !here?.publishedAt) return false;
      return Date.parse(here.lockedUntil ?? here.publishedAt) < Date.parse(here.publishedAt) + lock.keepMs;
    });
    if (short.length === 0) return [];
    const ids = short.slice(0, 3).map((p) => p.backup.id);
    const more = short.length > ids.length ? ` and ${short.length - ids.length} more` : '';
    return [
      `${source} in ${copy.name}: ${ids.join(', ')}${more} are locked for less than is promised now; a lock is set when a point is stored`,
    ];
  });
}

/** Classes that a copy locks for longer than the calendar keeps them: they stay there, and cost, until the lock ends. */
function lockedForLonger(policy: Policy): string[] {
  const found = calendarsOf(policy).flatMap(({ calendar, sources }) =>
    policy.copies.flatMap((copy) =>
      scheduledClasses.flatMap((name) => {
        const lock = lockFor(copy, calendar, [name]);
        const { keep } = calendar[name];
        const keptDays = keep * longestDays[name];
        if (!lock || keep === 0 || lock.keepMs <= keptDays * dayMs) return [];
        const days = Math.ceil(lock.keepMs / dayMs);
        return [
          `${sources.join(', ')} in ${copy.name}: ${name} points are locked for ${days} days, and kept for ${keptDays}: they stay until the lock ends`,
        ];
      }),
    ),
  );
  return [...new Set(found)];
}

function clockOf(policy: Policy, storeNow: string): PolicyImpact['clock'] {
  const upTo = new Date(Date.parse(storeNow) + 366 * dayMs).toISOString();
  return calendarsOf(policy).flatMap(({ calendar, sources }) =>
    clockChanges(calendar, storeNow, upTo).map((c) => ({ ...c, timeZone: calendar.timeZone, sources })),
  );
}

/** Each calendar once, with the sources that go by it. */
function calendarsOf(policy: Policy): { calendar: CalendarPolicy; sources: string[] }[] {
  const groups = Map.groupBy(policy.sources, (s) => JSON.stringify(s.calendar ?? policy.calendar));
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    return first ? [{ calendar: first.calendar ?? policy.calendar, sources: group.map((s) => s.name) }] : [];
  });
}

function calendarOf(policy: Policy, source: string): CalendarPolicy {
  return policy.sources.find((s) => s.name === source)?.calendar ?? policy.calendar;
}
