import { describe, expect, test } from '@jest/globals';
import { monthMs, storageDollars } from '../../policies/cost.ts';
import { durationSeconds } from '../../policies/duration.ts';
import { type SimulatedCopy, type Stay, staysOf } from '../../policies/placement.ts';
import { planPrune } from '../../policies/prune.ts';
import { pointsAt, type SimulatedSource, type Simulation, simulate } from '../../policies/simulate.ts';
import { simulationInput } from '../../policies/simulation-input.ts';
import { type TierPolicy, tiersPolicy } from '../../policies/tier-policy.ts';
import { ladderOf, planTierMoves } from '../../policies/tiers.ts';
import { type TimelinePoint, timelineOf } from '../../policies/timeline.ts';
import { calendarOf, retentionOf } from './points.ts';
import { policyOf } from './policies.ts';

const GB = 2 ** 30;
const dayMs = 86_400_000;
const tiers = tiersPolicy.parse(undefined);
const copyOf = (name: string, path: string[], pruneAfterMs: number | null = null): SimulatedCopy => ({
  name,
  ladder: ladderOf(tiers, { tier: path[0] ?? '', moves: path.slice(1).map((to) => ({ to })) }),
  pruneAfterMs,
});
const disk = copyOf('disk', ['hot', 'warm'], 30 * dayMs);
const cloud = copyOf('cloud', ['cold', 'archive']);
const source = (more: Partial<SimulatedSource> = {}): SimulatedSource => ({
  name: 'shop',
  calendar: calendarOf(),
  alwaysFull: false,
  fullBytes: 100 * GB,
  changePerDay: 0.02,
  growthPerYear: 0,
  restores: null,
  ...more,
});
const retention = retentionOf();
const years = (from: string, to: string, more: object = {}) =>
  timelineOf({ calendar: calendarOf(), retention, alwaysFull: false, from, to, ...more });
const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
const last = (simulation: Simulation) => simulation.months.at(-1);

describe('the timeline of a source', () => {
  const points = years('2026-01-01T00:00:00Z', '2036-01-01T00:00:00Z');

  test('has a point for every day of ten years, in chains that begin with a full each', () => {
    expect(points).toHaveLength(3652);
    for (const [i, point] of points.entries()) {
      const parent = point.parent === null ? null : points[point.parent];
      if (point.level === 'full') expect(parent).toBeNull();
      else if (point.level === 'differential') expect(parent?.level).toBe('full');
      else expect(point.parent).toBe(i - 1);
      if (parent) expect(point.sinceMs).toBe(point.at - parent.at);
    }
  });

  test('never removes a point before those that need it', () => {
    const early = points.filter(({ parent, goneAt }) => parent !== null && (points[parent]?.goneAt ?? 0) < goneAt);
    expect(early).toEqual([]);
  });

  test('has at the end what the calendar promises: 7 daily, 4 weekly, 12 monthly and 7 yearly ones', () => {
    const there = points.filter((p) => p.goneAt === Number.POSITIVE_INFINITY);
    const of = (name: string) => there.filter((p) => p.classes.includes(name as never)).length;
    expect(of('yearly')).toBe(7);
    expect(of('monthly')).toBe(12 + 6);
    expect(of('weekly')).toBeGreaterThanOrEqual(4);
    expect(of('daily')).toBeGreaterThanOrEqual(7);
    expect(there.length).toBeLessThan(70);
  });

  test('is all fulls for a source that knows nothing else', () => {
    const fulls = years('2026-01-01T00:00:00Z', '2026-03-01T00:00:00Z', { alwaysFull: true });
    expect(new Set(fulls.map((p) => p.level))).toEqual(new Set(['full']));
  });

  test('begins with a full whatever the calendar would make', () => {
    expect(years('2026-06-10T00:00:00Z', '2026-06-12T00:00:00Z').map((p) => p.level)).toEqual(['full', 'incremental']);
  });
});

describe('where points lie', () => {
  /** The rules themselves, carried out day by day, as the workflows would. */
  function livedThrough(points: TimelinePoint[], copy: SimulatedCopy, end: number): Map<number, string[]> {
    const tierOf = new Map<number, string>();
    const seen = new Map<number, string[]>();
    const id = (i: number) => String(i);
    const policies = policyOf({
      copies: [
        {
          kind: 'directory',
          name: 'here',
          region: 'a',
          path: '/a',
          ...(copy.pruneAfterMs === null ? {} : { pruneAfter: `${copy.pruneAfterMs / dayMs}d` }),
        },
        { kind: 'directory', name: 'other', region: 'b', path: '/b' },
      ],
    }).copies;
    for (let now = points[0]?.at ?? 0; now < end; now += dayMs / 4) {
      const storeNow = new Date(now).toISOString();
      const there = points.flatMap((p, i) => (p.at <= now && p.goneAt > now && tierOf.get(i) !== 'pruned' ? [i] : []));
      const known = there.map((i) => ({
        pointId: id(i),
        parent: points[i]?.parent === null ? null : id(points[i]?.parent ?? 0),
        level: points[i]?.level ?? 'full',
        copies: ['here', 'other'].map((name) => ({
          copy: name,
          state: 'verified' as const,
          publishedAt: new Date(points[i]?.at ?? 0).toISOString(),
        })),
      }));
      for (const step of planPrune(policies, known.toReversed(), storeNow)) tierOf.set(Number(step.pointId), 'pruned');
      const left = there.filter((i) => tierOf.get(i) !== 'pruned');
      const tiered = left.map((i) => ({
        pointId: id(i),
        parent: points[i]?.parent === null ? null : id(points[i]?.parent ?? 0),
        classes: points[i]?.classes ?? [],
        storedAt: new Date(points[i]?.at ?? 0).toISOString(),
        tier: tierOf.get(i) ?? copy.ladder[0]?.name ?? '',
      }));
      for (const move of planTierMoves(copy.ladder, tiered, storeNow)) tierOf.set(Number(move.pointId), move.to);
      seen.set(
        now,
        points.map((_, i) => (left.includes(i) ? (tierOf.get(i) ?? copy.ladder[0]?.name ?? '') : '')),
      );
    }
    return seen;
  }

  const at = (stays: Stay[], copy: SimulatedCopy, count: number, now: number) => {
    const places = Array<string>(count).fill('');
    for (const s of stays) if (s.from <= now && now < s.to) places[s.point] = copy.ladder[s.step]?.name ?? '';
    return places;
  };

  test.each([
    ['a disk that is pruned', disk],
    ['a cloud with an archive', cloud],
    ['all tiers in one copy', copyOf('all', ['hot', 'warm', 'cold', 'archive'])],
  ])('in %s is where the rules for pruning and moving put them, day by day', (_what, copy) => {
    const [from, to] = ['2026-12-20T00:00:00Z', '2027-05-20T00:00:00Z'];
    const calendar = calendarOf({
      daily: { keep: 3 },
      weekly: { keep: 2 },
      monthly: { keep: 2, level: 'incremental' },
      yearly: { immutable: false },
    });
    const points = timelineOf({
      calendar,
      retention: retentionOf({ grace: '1d', keepWithin: '2d' }),
      alwaysFull: false,
      from,
      to,
    });
    const stays = staysOf(points, copy);
    const wrong = [...livedThrough(points, copy, Date.parse(to))].filter(
      ([now, places]) => String(at(stays, copy, points.length, now)) !== String(places),
    );
    expect(wrong).toEqual([]);
  });

  test('is known for any moment, with every copy that has the point', () => {
    const points = years('2026-01-01T00:00:00Z', '2028-01-01T00:00:00Z');
    const there = pointsAt(points, [disk, cloud], '2027-06-15T12:00:00Z');
    expect(there[0]).toEqual({
      at: '2027-06-15T02:00:00.000Z',
      level: 'incremental',
      classes: ['daily'],
      copies: [
        { copy: 'disk', tier: 'hot' },
        { copy: 'cloud', tier: 'cold' },
      ],
    });
    expect(there.find((p) => p.at.startsWith('2027-06-01'))?.copies[0]).toEqual({ copy: 'disk', tier: 'warm' });
    expect(there.find((p) => p.at.startsWith('2026-01-01'))?.copies).toEqual([{ copy: 'cloud', tier: 'archive' }]);
  });
});

describe('the cost over the years', () => {
  test('of a source that never changes is that of its fulls and nothing more', () => {
    const still = source({ changePerDay: 0 });
    const simulation = simulate({
      sources: [still],
      copies: [cloud],
      retention,
      from: '2026-01-01T00:00:00Z',
      years: 3,
    });
    const fulls = last(simulation)?.classes.filter((c) => c.class === 'monthly' || c.class === 'yearly') ?? [];
    expect(sum(fulls.map((c) => c.bytes))).toBe(sum(fulls.map((c) => c.points)) * 100 * GB);
    expect(sum(last(simulation)?.stored.map((s) => s.bytes) ?? [])).toBe(sum(fulls.map((c) => c.bytes)));
  });

  test('adds up: each month, all that lies there for the time that it does, at its price', () => {
    const input = { sources: [source()], copies: [disk, cloud], retention, from: '2026-01-01T00:00:00Z', years: 2 };
    const { months, dollars } = simulate(input);
    expect(months).toHaveLength(24);
    expect(months.map((m) => m.month).slice(0, 2)).toEqual(['2026-01', '2026-02']);
    for (const { dollars: d, stored } of months) expect(d.storage).toBeCloseTo(sum(stored.map((s) => s.dollars)), 8);
    expect(dollars).toBeCloseTo(sum(months.map((m) => m.dollars.storage + m.dollars.early)), 6);
    // Once more, point by point and stay by stay.
    const points = years(input.from, '2028-01-01T00:00:00Z');
    const end = Date.parse('2028-01-01T00:00:00Z');
    const again = [disk, cloud].flatMap((copy) =>
      staysOf(points, copy)
        .filter((stay) => stay.from < end)
        .map((stay) => {
          const point = points[stay.point] as TimelinePoint;
          const bytes = point.parent === null ? 100 * GB : 100 * GB * (1 - 0.98 ** (point.sinceMs / dayMs));
          const tier = copy.ladder[stay.step] as TierPolicy;
          return storageDollars(tier, bytes, Math.min(stay.to, end) - stay.from);
        }),
    );
    expect(sum(months.map((m) => m.dollars.storage))).toBeCloseTo(sum(again), 6);
  });

  test('includes what is paid for leaving a tier too early', () => {
    const dailies = calendarOf({
      weekly: { keep: 0 },
      monthly: { keep: 0 },
      yearly: { keep: 0 },
      daily: { level: 'full' },
    });
    const input = { retention: retentionOf({ keepWithin: '1d', grace: '1d' }), from: '2026-01-01T00:00:00Z', years: 1 };
    const [hot, cold] = ['hot', 'cold'].map((name) =>
      simulate({ ...input, sources: [source({ calendar: dailies })], copies: [copyOf(name, [name])] }),
    );
    expect(sum(hot?.months.map((m) => m.dollars.early) ?? [])).toBe(0);
    // Kept for eight days and paid for thirty: nearly three times as much again.
    const month = cold?.months[6]?.dollars;
    expect((month?.early ?? 0) / (month?.storage ?? 1)).toBeCloseTo(22 / 8, 0);
  });

  test('of restores are those of the copy that they read', () => {
    const restores = { perYear: 12, copy: 'cloud' };
    const input = { copies: [disk, cloud], retention, from: '2026-01-01T00:00:00Z', years: 1 };
    const { months } = simulate({ ...input, sources: [source({ restores })] });
    expect(sum(months.map((m) => m.dollars.egress))).toBeCloseTo(12 * 100 * 0.09, 0);
    expect(sum(months.map((m) => m.dollars.retrieval))).toBeCloseTo(12 * 100 * 0.01, 0);
    const local = simulate({ ...input, sources: [source({ restores: { perYear: 12, copy: 'disk' } })] });
    expect(sum(local.months.map((m) => m.dollars.egress))).toBe(0);
  });

  test('grows with the source, and is the sum of all sources', () => {
    const input = { copies: [cloud], retention, from: '2026-01-01T00:00:00Z', years: 4 };
    const [one, two] = [source(), source({ name: 'more', fullBytes: 50 * GB, alwaysFull: true, growthPerYear: 0.5 })];
    const each = [one, two].map((s) => simulate({ ...input, sources: [s] }));
    const both = simulate({ ...input, sources: [one, two] });
    expect(both.dollars).toBeCloseTo(sum(each.map((e) => e.dollars)), 6);
    expect(both.months.map((m) => m.points)).toEqual(
      each[0]?.months.map((m, i) => m.points + (each[1]?.months[i]?.points ?? 0)),
    );
    const december = (i: number) => sum(each[1]?.months[i * 12 + 11]?.stored.map((s) => s.bytes) ?? []);
    expect(december(3)).toBeGreaterThan(december(2));
  });

  test('begins in the middle of a month where it is asked to', () => {
    const input = { sources: [source()], copies: [cloud], retention, years: 1 };
    const [first, ...others] = simulate({ ...input, from: '2026-01-16T12:00:00Z' }).months;
    expect(first?.dollars.storage).toBeGreaterThan(0);
    expect(first?.dollars.storage).toBeLessThan(100 * 0.0125 * 3);
    expect(others).toHaveLength(11);
    expect(monthMs).toBe(730.5 * 3_600_000);
  });
});

test('a policy is simulated with its own calendars, tiers and pruning, and what was measured', () => {
  const policy = policyOf({
    sources: [
      { kind: 'files', name: 'files', path: '/srv', calendar: { daily: { keep: 3 } } },
      { kind: 'postgres-logical', name: 'shop', connection: { host: 'db', database: 'shop', user: 'backup' } },
      { kind: 'files', name: 'unknown', path: '/srv2' },
    ],
    copies: [
      {
        kind: 'directory',
        name: 'disk',
        region: 'a',
        path: '/a',
        pruneAfter: '7d',
        moves: [{ to: 'warm', path: '/b' }],
      },
      { kind: 's3', name: 'west', region: 'b', bucket: 'west' },
    ],
  });
  const measured = { fullBytes: GB, changePerDay: 0.1, growthPerYear: 0, restores: null };
  const input = simulationInput(
    policy,
    new Map([
      ['files', measured],
      ['shop', measured],
    ]),
    { from: '2026-01-01T00:00:00Z', years: 1 },
  );
  expect(input.sources.map((s) => [s.name, s.alwaysFull, s.calendar.daily.keep])).toEqual([
    ['files', false, 3],
    ['shop', true, 7],
  ]);
  expect(input.copies.map((c) => [c.name, c.ladder.map((t) => t.name), c.pruneAfterMs])).toEqual([
    ['disk', ['hot', 'warm'], durationSeconds('7d') * 1000],
    ['west', ['cold'], null],
  ]);
  expect(simulate(input).dollars).toBeGreaterThan(0);
});
