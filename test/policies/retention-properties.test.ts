import { describe, expect, test } from '@jest/globals';
import { type CalendarPolicy, scheduledClasses } from '../../policies/calendar-policy.ts';
import { durationSeconds } from '../../policies/duration.ts';
import { type ExpiryMark, expiryStep } from '../../policies/expiry.ts';
import { periodOf } from '../../policies/period.ts';
import { planRetention, type RetainedPoint, type RetentionInput } from '../../policies/retention.ts';
import { calendarOf, nightsAgo, pointOf, retentionOf, storeNow } from './points.ts';
import { type Random, seededRandom } from './random.ts';

const seed = 20260615;
const histories = 10_000;

// The schema is asked once: asked for each history, it takes longer than what is tested.
const anyCalendar = calendarOf();
const anyRetention = retentionOf();

/** Any history: chains of every shape, flaws, locks, holds, floods, at random times of some random span. */
function anyInput(random: Random): RetentionInput {
  const span = random.pick([2, 20, 120, 1500]);
  const count = random.below(24);
  const points: RetainedPoint[] = [];
  for (let i = 0; i < count; i++) {
    const above = random.chance(0.7) && points.length > 0 ? random.pick(points).pointId : null;
    points.push(
      pointOf(`p${i}`, {
        // Now and then a parent that is missing, or one that makes a circle.
        parent: random.chance(0.03) ? random.pick(['gone', `p${i}`, `p${i + 1}`]) : above,
        classes: random.some([...scheduledClasses, 'manual'] as const),
        storedAt: nightsAgo(random.real() * span),
        validated: random.chance(0.95),
        trusted: random.chance(0.95),
        lockedUntil: random.chance(0.1) ? nightsAgo(random.real() * 20 - 10) : null,
        holds: random.chance(0.05) ? ['audit'] : [],
      }),
    );
  }
  const keep = () => random.pick([0, 1, 2, 3, 7]);
  return {
    points: random.shuffle(points),
    calendar: {
      ...anyCalendar,
      timeZone: random.pick(['UTC', 'America/New_York']),
      hourly: { ...anyCalendar.hourly, keep: keep(), everyHours: random.pick([1, 5]) },
      daily: { ...anyCalendar.daily, keep: keep() },
      weekly: { ...anyCalendar.weekly, keep: keep() },
      monthly: { ...anyCalendar.monthly, keep: keep() },
      yearly: { ...anyCalendar.yearly, keep: keep() },
    },
    retention: {
      ...anyRetention,
      minimumAge: random.pick(['1s', '1d', '30d']),
      keepWithin: random.pick(['1s', '2d', '10d']),
      keepManual: random.pick(['1s', '30d']),
    },
    storeNow,
    stopped: random.chance(0.03) ? 'a sudden change' : null,
  };
}

const stayingOf = (input: RetentionInput) =>
  new Set(
    planRetention(input)
      .filter((v) => v.stays)
      .map((v) => v.pointId),
  );

/** A point with all above it, nearest first; null when the chain ends in nothing or in itself. */
function chainOf(point: RetainedPoint, byId: Map<string, RetainedPoint>): RetainedPoint[] | null {
  const chain = [point];
  for (let at = point; at.parent !== null; ) {
    const parent = byId.get(at.parent);
    if (!parent || chain.includes(parent)) return null;
    chain.push(parent);
    at = parent;
  }
  return chain;
}

/** The rules once more, as plainly as they can be said. */
function oracle({ points, calendar, retention, storeNow, stopped }: RetentionInput): Set<string> {
  const byId = new Map(points.map((p) => [p.pointId, p]));
  const time = (p: RetainedPoint) => Date.parse(p.storedAt);
  const good = points.filter((p) => chainOf(p, byId)?.every((l) => l.trusted && l.validated));
  good.sort((a, b) => time(b) - time(a) || (a.pointId < b.pointId ? 1 : -1));
  const newest = good[0];
  const ms = (text: string) => durationSeconds(text) * 1000;
  const now = Date.parse(storeNow);
  const byClass = scheduledClasses.flatMap((name) => {
    const line = good.filter((p) => p.classes.includes(name));
    const periods = Map.groupBy(line, (p) => periodOf(calendar, name, time(p)));
    return [...periods.values()].slice(0, calendar[name].keep).map(([first]) => first);
  });
  const keeps = (p: RetainedPoint) =>
    stopped !== null ||
    !good.includes(p) ||
    p === newest ||
    p.holds.length > 0 ||
    (p.lockedUntil !== null && Date.parse(p.lockedUntil) > now) ||
    now - time(p) < ms(retention.minimumAge) ||
    (p.classes.includes('manual') && now - time(p) < ms(retention.keepManual)) ||
    (newest !== undefined && time(newest) - time(p) < ms(retention.keepWithin)) ||
    byClass.includes(p);
  const staying = new Set<string>();
  for (const point of points.filter(keeps)) {
    for (let at: RetainedPoint | undefined = point; at && !staying.has(at.pointId); ) {
      staying.add(at.pointId);
      at = at.parent === null ? undefined : byId.get(at.parent);
    }
  }
  return staying;
}

/** What must never go, whatever the rules: said without them. */
function problemOf({ points, storeNow }: RetentionInput, going: Set<string>): string | null {
  const byId = new Map(points.map((p) => [p.pointId, p]));
  const counting = points.filter((p) => chainOf(p, byId)?.every((l) => l.trusted && l.validated));
  if (counting.length > 0 && counting.every((p) => going.has(p.pointId))) return 'nothing that counts stays';
  for (const p of points) {
    if (!going.has(p.pointId)) {
      if (p.parent !== null && going.has(p.parent)) return `${p.pointId} loses its parent`;
    } else if (!counting.includes(p)) return `${p.pointId} does not count, and goes`;
    else if (p.holds.length > 0) return `${p.pointId} is held, and goes`;
    else if (p.lockedUntil !== null && p.lockedUntil > storeNow) return `${p.pointId} is locked, and goes`;
  }
  return null;
}

/** Runs a check over every history, and names the first that fails it. */
function forAll(check: (input: RetentionInput, random: Random) => string | null, runs = histories): void {
  const random = seededRandom(seed);
  for (let run = 0; run < runs; run++) {
    const input = anyInput(random);
    const problem = check(input, random);
    if (problem !== null) throw new Error(`history ${run} of seed ${seed}: ${problem}\n${JSON.stringify(input)}`);
  }
}

const keepNothing = retentionOf({ minimumAge: '1s', keepWithin: '1s', keepManual: '1s' });

describe(`in ${histories} random histories`, () => {
  test('what stays is what the rules say, said once more plainly; no chain is broken; each verdict has its reasons', () => {
    let [stayed, gone] = [0, 0];
    forAll((input) => {
      const verdicts = planRetention(input);
      const going = new Set(verdicts.filter((v) => !v.stays).map((v) => v.pointId));
      stayed += verdicts.length - going.size;
      gone += going.size;
      const wanted = oracle(input);
      const wrong = input.points.filter((p) => going.has(p.pointId) === wanted.has(p.pointId));
      if (wrong.length > 0) return `the rules differ about ${wrong.map((p) => p.pointId)}`;
      return problemOf(input, going) ?? verdicts.find((v) => v.reasons.length === 0)?.pointId ?? null;
    });
    // The histories are such that much stays and much goes.
    expect(stayed).toBeGreaterThan(histories);
    expect(gone).toBeGreaterThan(histories);
  });

  test('points that an attacker adds without the key make nothing go, nor do those that fail validation', () => {
    forAll((input, random) => {
      const fakes = Array.from({ length: 1 + random.below(10) }, (_, i) =>
        pointOf(`fake${i}`, {
          classes: random.some(scheduledClasses),
          storedAt: nightsAgo(random.real() * 40),
          parent: random.chance(0.5) && input.points.length > 0 ? random.pick(input.points).pointId : null,
          ...(random.chance(0.5) ? { trusted: false } : { validated: false }),
        }),
      );
      const [before, after] = [stayingOf(input), stayingOf({ ...input, points: [...input.points, ...fakes] })];
      const lost = [...before].filter((id) => !after.has(id));
      return lost.length === 0 ? null : `${lost} would go for fakes`;
    }, 1_500);
  });

  test('even with the key, a flood within an hour takes one period of each class at most', () => {
    forAll((input, random) => {
      const classes = random.some(scheduledClasses);
      const flood = Array.from({ length: 10 }, (_, i) =>
        pointOf(`flood${i}`, { classes, storedAt: new Date(Date.parse(storeNow) + i * 60_000).toISOString() }),
      );
      // The young and the near stay anyway; here it is the counts that are attacked.
      const bare = { ...input, retention: keepNothing };
      const kept = (points: RetainedPoint[]) =>
        planRetention({ ...bare, points }).filter((v) => v.reasons.some((r) => r.rule === 'class'));
      const after = new Set(kept([...input.points, ...flood]).map((v) => v.pointId));
      const lost = kept(input.points).filter((v) => !after.has(v.pointId));
      // One that is pushed out by count, and one whose period the flood is in.
      return lost.length <= 2 * classes.length ? null : `${lost.map((v) => v.pointId)} would go`;
    }, 1_500);
  });

  test('the order in which points are listed does not matter', () => {
    forAll((input, random) => {
      const other = planRetention({ ...input, points: random.shuffle(input.points) });
      return JSON.stringify(planRetention(input)) === JSON.stringify(other) ? null : 'another order, another plan';
    }, 1_500);
  });
});

describe('removing in two phases', () => {
  /** Carries plans out night after night, while points come; the executor may die after any removal. */
  function carryOut(random: Random, calendar: CalendarPolicy, graceMs: number): string | null {
    const retention = retentionOf({ minimumAge: '1d', keepWithin: '1d', keepManual: '1d' });
    let points: RetainedPoint[] = [];
    let marks: ExpiryMark[] = [];
    for (let night = 60; night >= 0; night--) {
      const now = new Date(Date.parse(nightsAgo(night)) + 3_600_000).toISOString();
      const last = points.at(-1);
      const parent =
        random.chance(0.2) || !last ? null : random.chance(0.3) ? (points[0]?.pointId ?? null) : last.pointId;
      points.push(pointOf(`n${night}`, { storedAt: nightsAgo(night), parent, classes: ['daily'] }));
      const held = random.chance(0.1) ? random.pick(points).pointId : null;
      points = points.map((p) => (p.pointId === held ? { ...p, holds: p.holds.length > 0 ? [] : ['case'] } : p));
      const verdicts = planRetention({ points, calendar, retention, storeNow: now, stopped: null });
      const step = expiryStep(points, verdicts, marks, { storeNow: now, graceMs });
      marks = [
        ...marks.filter((m) => !step.unmark.includes(m.pointId)),
        ...step.mark.map((pointId) => ({ pointId, markedAt: now })),
      ];
      for (const id of step.remove) {
        if (random.chance(0.1)) break;
        const mark = marks.find((m) => m.pointId === id);
        if (!mark) return `${id} is removed unmarked`;
        if (Date.parse(now) - Date.parse(mark.markedAt) < graceMs) return `${id} is removed within its grace`;
        if (verdicts.find((v) => v.pointId === id)?.stays !== false) return `${id} is removed though it stays`;
        points = points.filter((p) => p.pointId !== id);
        marks = marks.filter((m) => m.pointId !== id);
        const orphan = points.find((p) => p.parent !== null && !points.some((q) => q.pointId === p.parent));
        if (orphan) return `${orphan.pointId} has lost ${orphan.parent}`;
      }
    }
    return points.length < 61 ? null : 'nothing was ever removed';
  }

  test('leaves no orphan after any single removal, waits out its grace, and removes something in the end', () => {
    const random = seededRandom(seed);
    for (let run = 0; run < 40; run++) {
      const calendar = calendarOf({ daily: { keep: random.pick([2, 5]) } });
      expect(carryOut(random, calendar, random.pick([1, 3]) * 86_400_000)).toBeNull();
    }
  });

  test('takes a mark back when the point stays after all', () => {
    const points = [pointOf('new'), pointOf('old', { storedAt: nightsAgo(30) })];
    const calendar = calendarOf({ daily: { keep: 1 } });
    const retention = retentionOf({ minimumAge: '1s', keepWithin: '1s' });
    const plan = (holds: string[]) =>
      planRetention({ points: points.map((p) => ({ ...p, holds })), calendar, retention, storeNow, stopped: null });
    const clock = { storeNow, graceMs: 0 };
    expect(expiryStep(points, plan([]), [], clock)).toEqual({ mark: ['old'], unmark: [], remove: [] });
    const marks = [{ pointId: 'old', markedAt: nightsAgo(5) }];
    expect(expiryStep(points, plan([]), marks, clock)).toEqual({ mark: [], unmark: [], remove: ['old'] });
    expect(expiryStep(points, plan(['case']), marks, clock)).toEqual({ mark: [], unmark: ['old'], remove: [] });
  });
});
