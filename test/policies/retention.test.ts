import { describe, expect, test } from '@jest/globals';
import { duesBetween } from '../../policies/calendar.ts';
import { planRetention, type RetainedPoint, type RetentionInput } from '../../policies/retention.ts';
import { calendarOf, inputOf, nightsAgo, pointOf, retentionOf } from './points.ts';

const plan = (points: RetainedPoint[], more: Partial<RetentionInput> = {}) => planRetention(inputOf(points, more));
const going = (points: RetainedPoint[], more: Partial<RetentionInput> = {}) =>
  plan(points, more)
    .filter((v) => !v.stays)
    .map((v) => v.pointId);
/** `rule: text` of every reason for one point. */
const why = (pointId: string, points: RetainedPoint[], more: Partial<RetentionInput> = {}) =>
  plan(points, more)
    .find((v) => v.pointId === pointId)
    ?.reasons.map((r) => `${r.rule}: ${r.text}`);

/** One daily full for each of the last nights, `d0` the newest. */
const dailies = (count: number) =>
  Array.from({ length: count }, (_, i) => pointOf(`d${i}`, { storedAt: nightsAgo(i) }));

describe('counts per class', () => {
  test('keep the newest seven dailies, and say so of each', () => {
    expect(going(dailies(9))).toEqual(['d7', 'd8']);
    expect(why('d6', dailies(9))).toEqual(['class: daily 7 of 7']);
    expect(why('d7', dailies(9))).toEqual(['expired: daily 8, and 7 are kept']);
    expect(why('d0', dailies(9))?.slice(0, 2)).toEqual([
      'class: daily 1 of 7',
      'last-valid: the newest point that counts',
    ]);
  });

  test('count a point for each of its classes', () => {
    const points = dailies(30).map((p, i) =>
      i === 20 ? { ...p, classes: ['monthly' as const, 'daily' as const] } : p,
    );
    expect(why('d20', points)).toEqual(['class: monthly 1 of 12']);
  });

  test('after five years of the whole calendar are 7, 4, 12 and 5, each from its own days', () => {
    const calendar = calendarOf();
    const points = duesBetween(calendar, '2021-06-15T00:00:00Z', '2026-06-15T12:00:00Z').map((due) =>
      pointOf(due.at, { classes: due.classes, storedAt: new Date(Date.parse(due.at) + 20 * 60_000).toISOString() }),
    );
    const stay = plan(points, { calendar }).filter((v) => v.stays);
    const of = (name: string) =>
      stay.filter((v) => v.reasons.some((r) => r.text.startsWith(name))).map((v) => v.pointId.slice(0, 10));
    expect(of('daily')).toEqual(['15', '14', '13', '12', '11', '10', '09'].map((d) => `2026-06-${d}`));
    expect(of('weekly')).toEqual(['2026-06-14', '2026-06-07', '2026-05-31', '2026-05-24']);
    expect(of('monthly')).toHaveLength(12);
    expect(of('monthly').every((d) => d.endsWith('-01'))).toBe(true);
    expect(of('yearly')).toEqual(['2026-01-01', '2025-01-01', '2024-01-01', '2023-01-01', '2022-01-01']);
  });

  test('take one point of a period, the newest: a flood in one night pushes out one of each class at most', () => {
    const flood = Array.from({ length: 50 }, (_, i) =>
      pointOf(`f${i}`, {
        storedAt: new Date(Date.parse(nightsAgo(0)) + (i + 1) * 60_000).toISOString(),
        classes: ['daily', 'weekly', 'monthly', 'yearly'],
      }),
    );
    const before = new Set(going(dailies(7)));
    const lost = going([...dailies(7), ...flood]).filter((id) => id.startsWith('d') && !before.has(id));
    expect(lost).toEqual(['d0']);
    expect(why('d0', [...dailies(7), ...flood])).toEqual(['expired: f49 is the newer daily one of its day']);
  });

  test('count a late backup for the day that it was made for', () => {
    // The weekly of Sunday the 7th, caught up on Thursday, and that of Sunday the 14th.
    const weekly = ['2026-06-14T03:30:00Z', '2026-06-11T10:00:00Z', '2026-05-31T03:30:00Z'].map((storedAt, i) =>
      pointOf(`w${i}`, { classes: ['weekly'], storedAt }),
    );
    expect(why('w1', weekly)).toEqual(['class: weekly 2 of 4']);
  });

  test('count a backup that stood for a class a little before its moment', () => {
    const calendar = calendarOf({
      weekly: { at: '23:00', day: 'saturday' },
      daily: { at: '02:00' },
      absorbWithin: '4h',
    });
    const points = [
      pointOf('sunday', { storedAt: '2026-06-14T02:30:00Z' }),
      pointOf('saturday', { storedAt: '2026-06-13T22:30:00Z', classes: ['weekly', 'daily'] }),
      pointOf('saturday-night', { storedAt: '2026-06-13T02:30:00Z' }),
    ];
    expect(why('saturday-night', points, { calendar })?.[0]).toMatch(/^class: daily/);
    expect(why('saturday', points, { calendar })).toContain('class: weekly 1 of 4');
  });
});

describe('beside the counts', () => {
  const extra = (more: Partial<RetainedPoint>) => [...dailies(8), pointOf('x', { storedAt: nightsAgo(20), ...more })];

  test('nothing younger than the minimum age goes', () => {
    const retention = retentionOf({ minimumAge: '30d', keepWithin: '1h', keepManual: '1h' });
    expect(going(extra({}), { retention })).toEqual([]);
    expect(why('x', extra({}), { retention })).toEqual(['minimum-age: younger than 30d']);
  });

  test('all within a time of the newest stay, also when the newest is old', () => {
    const retention = retentionOf({ minimumAge: '1h', keepWithin: '20d', keepManual: '1h' });
    expect(going(extra({}), { retention })).toEqual(['x']);
    expect(going(extra({ storedAt: nightsAgo(19) }), { retention, storeNow: '2030-01-01T00:00:00Z' })).toEqual([]);
  });

  test('what a person asked for stays for a time', () => {
    const retention = retentionOf({ minimumAge: '1h', keepWithin: '1h', keepManual: '30d' });
    expect(why('x', extra({ classes: ['manual'] }), { retention })).toEqual([
      'manual: asked for by a person within 30d',
    ]);
    expect(why('x', extra({ classes: ['manual'], storedAt: nightsAgo(31) }), { retention })).toEqual([
      'expired: asked for by a person more than 30d ago',
    ]);
  });

  test('what is locked stays until the lock is over', () => {
    const locked = extra({ lockedUntil: '2026-06-15T12:00:01Z' });
    expect(why('x', locked)).toEqual(['locked: locked until 2026-06-15T12:00:01Z']);
    expect(going(locked, { storeNow: '2026-06-15T12:00:01Z' })).toContain('x');
  });

  test('what is held stays, and says for what', () => {
    expect(why('x', extra({ holds: ['audit 2026', 'case 7'] }))).toEqual([
      'held: held: audit 2026',
      'held: held: case 7',
    ]);
  });

  test('what a restore reads stays, with its chain, until the restore has ended', () => {
    const chain = [...extra({}), pointOf('y', { parent: 'x', storedAt: nightsAgo(40), readers: ['restore/shop/7'] })];
    expect(why('y', chain)).toEqual(['being-restored: being restored by restore/shop/7']);
    expect(why('x', chain)).toEqual(['needed: needed by y']);
  });

  test('the last point that counts stays, however old and whatever its class', () => {
    const calendar = calendarOf({ daily: { keep: 0 } });
    expect(going([pointOf('x', { storedAt: nightsAgo(4000) })], { calendar })).toEqual([]);
  });

  test('nothing goes while expiry is stopped, and the reason is told', () => {
    expect(going(dailies(20), { stopped: 'd0 compresses to 99 %' })).toEqual([]);
    expect(why('d15', dailies(20), { stopped: 'd0 compresses to 99 %' })).toEqual([
      'stopped: expiry is stopped: d0 compresses to 99 %',
    ]);
  });
});

describe('chains', () => {
  test('stay whole: a full that a kept incremental needs is kept, with all between', () => {
    const chain = dailies(20).map((p, i) => (i === 19 ? p : { ...p, parent: `d${i + 1}` }));
    expect(going(chain)).toEqual([]);
    expect(why('d19', chain)).toEqual(['needed: needed by d18']);
    expect(why('d7', chain)).toEqual(['needed: needed by d6']);
  });

  test('that nothing kept needs go whole', () => {
    const two = dailies(14).map((p, i) => (i === 6 || i === 13 ? p : { ...p, parent: `d${i + 1}` }));
    expect(going(two)).toEqual(['d7', 'd8', 'd9', 'd10', 'd11', 'd12', 'd13']);
  });

  test('that a lock or a hold needs stay too', () => {
    const points = dailies(20).map((p) =>
      p.pointId === 'd10'
        ? { ...p, parent: 'd15', holds: ['audit'] }
        : p.pointId === 'd15'
          ? { ...p, parent: 'd19' }
          : p,
    );
    const gone = going(points);
    expect(gone).toContain('d11');
    for (const kept of ['d10', 'd15', 'd19']) expect(gone).not.toContain(kept);
  });
});

describe('points that do not count', () => {
  test.each<[string, Partial<RetainedPoint>, string]>([
    ['whose signature is not trusted', { trusted: false }, 'its signature is not that of a trusted key'],
    ['that did not pass validation', { validated: false }, 'it did not pass validation'],
    ['whose parent is missing', { parent: 'gone' }, 'its parent gone is missing'],
  ])('push out nothing, and stay for a person to look at: those %s', (_what, flaw, words) => {
    const fakes = Array.from({ length: 30 }, (_, i) => pointOf(`fake${i}`, { storedAt: nightsAgo(i * 0.1), ...flaw }));
    const points = [...dailies(8), ...fakes];
    expect(going(points)).toEqual(['d7']);
    expect(why('fake3', points)?.join()).toContain(`not-counted: does not count and makes nothing go: ${words}`);
  });

  test('take what hangs on them along', () => {
    const points = [
      pointOf('a', { storedAt: nightsAgo(0), parent: 'b' }),
      pointOf('b', { storedAt: nightsAgo(1), parent: 'c' }),
      pointOf('c', { storedAt: nightsAgo(2), validated: false }),
      pointOf('good', { storedAt: nightsAgo(3) }),
    ];
    expect(why('a', points)).toContain(
      'not-counted: does not count and makes nothing go: it needs c, which does not count either; a person must look',
    );
    expect(why('good', points)).toContain('last-valid: the newest point that counts');
  });

  test('may be a circle, which ends nothing', () => {
    const circle = [pointOf('a', { parent: 'b' }), pointOf('b', { parent: 'a' }), pointOf('c', { parent: 'c' })];
    expect(going(circle)).toEqual([]);
    expect(why('c', circle)?.join()).toContain('its chain is a circle');
    expect(why('a', circle)?.join()).toMatch(/circle|it needs/);
  });
});

test('the plan lists every point once, newest first, each with a reason', () => {
  const verdicts = plan(dailies(12).reverse());
  expect(verdicts.map((v) => v.pointId)).toEqual(dailies(12).map((p) => p.pointId));
  for (const { reasons } of verdicts) expect(reasons.length).toBeGreaterThan(0);
  expect(plan([])).toEqual([]);
});
