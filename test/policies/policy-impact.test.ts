import { describe, expect, test } from '@jest/globals';
import type { Policy } from '../../policies/policy.ts';
import { type ImpactPoint, impactOf, type SourceInput } from '../../policies/policy-impact.ts';
import { asPromised, promised, promisedBy } from '../../policies/promised.ts';
import { makePoint, type PointChoices, trusted } from '../engine/catalog/points.ts';
import { nightsAgo, storeNow } from './points.ts';
import { policyOf } from './policies.ts';

const quiet = { minimumAge: '1s', keepWithin: '1s', keepManual: '1s', grace: '3d' };

function policy(replaced: Record<string, unknown> = {}): Policy {
  const made = policyOf({
    sources: [{ kind: 'files', name: 'shop', path: '/srv/shop' }],
    retention: quiet,
    calendar: { daily: { keep: 4 } },
    ...replaced,
  });
  return { ...made, keys: { ...made.keys, trusted } };
}

const point = (nights: number, more: Partial<PointChoices> = {}, lockedUntil: string | null = null): ImpactPoint => {
  const id = more.id ?? `night-${nights}`;
  const lies = { state: 'verified', publishedAt: nightsAgo(nights), lockedUntil, held: false };
  return {
    backup: makePoint({ classes: ['daily'], ...more, id }).backup,
    copies: [{ ...lies, copy: 'offsite' }],
    holds: [],
  };
};

const measured = new Map([['shop', { fullBytes: 2 ** 30, changePerDay: 0.02, growthPerYear: 0, restores: null }]]);

function impact(after: Policy, before: Policy | null, points: ImpactPoint[], more: Partial<SourceInput> = {}) {
  const sources = [{ source: 'shop', points, marks: [], decided: [], ...more }];
  const was = before && asPromised(after, promisedBy(before));
  return impactOf({ after, before: was, sources, storeNow, measured, years: 0.25 });
}
const nights = (count: number) => Array.from({ length: count }, (_, i) => point(i));
const daily = (keep: number) => policy({ calendar: { daily: { keep } } });

describe('what a changed policy does to the points that there are', () => {
  test('is named point by point, with the moment from which each goes, and why', () => {
    const { goes, stays } = impact(daily(2), daily(4), nights(4));
    expect(goes.map((p) => [p.pointId, p.goesAt, p.why])).toEqual([
      ['night-2', '2026-06-18T12:00:00.000Z', ['daily 3, and 2 are kept']],
      ['night-3', '2026-06-18T12:00:00.000Z', ['daily 4, and 2 are kept']],
    ]);
    expect(stays).toEqual([]);
  });

  test('counts the grace from when a point was marked already', () => {
    const marks = [{ pointId: 'night-3', markedAt: nightsAgo(1) }];
    const { goes } = impact(daily(3), daily(4), nights(4), { marks });
    expect(goes.map((p) => p.goesAt)).toEqual([new Date(Date.parse(nightsAgo(1)) + 3 * 86_400_000).toISOString()]);
  });

  test('tells what stays that would have gone, and nothing where nothing changes', () => {
    expect(impact(daily(4), daily(2), nights(4)).stays.map((p) => p.pointId)).toEqual(['night-2', 'night-3']);
    const same = impact(daily(2), daily(2), nights(4));
    expect([same.goes, same.stays, same.isFirst]).toEqual([[], [], false]);
  });

  test('names all that goes when nothing was promised before', () => {
    const first = impact(daily(2), null, nights(4));
    expect([first.isFirst, first.goes.map((p) => p.pointId)]).toEqual([true, ['night-2', 'night-3']]);
    expect(first.cost.before).toBeNull();
  });

  test('names the chains of which something goes, and how much of each', () => {
    const chain = [
      point(3, { id: 'old-full' }),
      point(2, { id: 'old-1', parent: 'old-full' }),
      point(1, { id: 'full' }),
      point(0, { id: 'last', parent: 'full' }),
    ];
    expect(impact(daily(2), daily(4), chain).chains).toEqual([
      { source: 'shop', full: 'old-full', points: 2, goes: 2 },
    ]);
    const fork = [
      point(3, { id: 'root' }),
      point(2, { id: 'side', parent: 'root' }),
      point(1, { id: 'main', parent: 'root' }),
      point(0, { id: 'tip', parent: 'main' }),
    ];
    expect(impact(daily(2), daily(4), fork).chains).toEqual([{ source: 'shop', full: 'root', points: 4, goes: 1 }]);
  });

  test('removes nothing of a source whose expiry is stopped', () => {
    const points = (newest: number) => [
      point(0, { sourceBytes: newest }),
      ...[1, 2, 3].map((n) => point(n, { sourceBytes: 1e9 })),
    ];
    expect(impact(daily(1), daily(4), points(1e9)).goes).toHaveLength(3);
    expect(impact(daily(1), daily(4), points(1)).goes).toEqual([]);
  });
});

describe('locks that conflict with a changed policy', () => {
  const locking = (keep: object, calendar: object = {}) =>
    policy({
      calendar: { daily: { keep: 4 }, yearly: { immutable: false }, ...calendar },
      copies: [
        { kind: 'directory', name: 'local', region: 'us-east-1', path: '/srv/backup' },
        { kind: 's3', name: 'offsite', region: 'us-west-2', bucket: 'backup-offsite', lock: { keep } },
      ],
    });

  test('are told where a class is locked for longer than it is kept', () => {
    expect(impact(locking({ daily: '30d' }), locking({}), []).lockConflicts).toEqual([
      'shop in offsite: daily points are locked for 30 days, and kept for 4: they stay until the lock ends',
    ]);
    expect(impact(locking({ daily: '4d' }), locking({}), []).lockConflicts).toEqual([]);
  });

  test('are told of each point that is let go and stays for its lock alone', () => {
    const points = [point(0), point(1), point(2, {}, nightsAgo(-9))];
    const { lockConflicts, goes } = impact(daily(2), daily(4), points);
    expect(lockConflicts).toEqual([`shop: night-2 is let go, and stays: it is locked until ${nightsAgo(-9)}`]);
    expect(goes).toEqual([]);
  });

  test('are told where points have less of a lock than is promised now', () => {
    const points = [point(0, {}, nightsAgo(-30)), point(1), point(2, {}, nightsAgo(1))];
    const { lockConflicts } = impact(locking({ daily: '4d' }), locking({}), points);
    expect(lockConflicts).toEqual([
      expect.stringMatching(/^shop in offsite: night-1, night-2 are locked for less than/),
    ]);
  });
});

describe('the rest of what a changed policy means', () => {
  test('is its cost, before and after', () => {
    const { cost } = impact(daily(30), daily(2), []);
    expect(cost.years).toBe(0.25);
    expect(cost.after).toBeGreaterThan(cost.before ?? Number.POSITIVE_INFINITY);
    const same = impact(daily(2), daily(2), []).cost;
    expect(same.after).toBe(same.before);
  });

  test('is what a change of the clock does to its times within a year', () => {
    const berlin = policy({ calendar: { timeZone: 'Europe/Berlin', daily: { at: '02:30' } } });
    const { clock } = impact(berlin, null, []);
    expect(clock.filter((c) => c.class === 'daily').map((c) => [c.date.slice(0, 7), c.at, c.kind, c.sources])).toEqual([
      ['2026-10', '02:30', 'twice', ['shop']],
      ['2027-03', '02:30', 'missing', ['shop']],
    ]);
    expect(
      impact(policy({ calendar: { timeZone: 'Europe/Berlin', daily: { at: '05:30' } } }), null, []).clock.filter(
        (c) => c.class === 'daily',
      ),
    ).toEqual([]);
  });
});

describe('what was promised', () => {
  test('is kept without any reference to a secret, and read again as it was', () => {
    const made = policy({
      copies: [
        {
          ...{ kind: 's3', name: 'offsite', region: 'w', bucket: 'backup', lock: {}, pruneAfter: '9d' },
          credentials: { read: { accessKeyId: 'env:KEY_ID', secretAccessKey: 'env:SECRET' } },
        },
      ],
    });
    const kept = JSON.stringify(promisedBy(made));
    expect(kept).not.toMatch(/env:|file:/);
    expect(asPromised(made, promised.parse(JSON.parse(kept)))).toEqual(made);
  });
});
