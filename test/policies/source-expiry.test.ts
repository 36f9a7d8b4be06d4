import { describe, expect, test } from '@jest/globals';
import { type HoldNote, holdFormat } from '../../policies/hold.ts';
import { earliestOf, judgeSource, type KnownPoint, retainedPoint } from '../../policies/source-expiry.ts';
import { makePoint, type PointChoices, stranger, trusted } from '../engine/catalog/points.ts';
import { nightsAgo, storeNow } from './points.ts';
import { policyOf } from './policies.ts';

const verified = (publishedAt: string, more: Partial<KnownPoint['copies'][number]> = {}) => ({
  state: 'verified',
  publishedAt,
  lockedUntil: null,
  held: false,
  ...more,
});

const known = (choices: PointChoices, publishedAt: string, more: Partial<KnownPoint> = {}): KnownPoint => ({
  backup: makePoint(choices).backup,
  copies: [verified(publishedAt)],
  holds: [],
  ...more,
});

const base = policyOf({
  sources: [{ kind: 'files', name: 'shop', path: '/srv/shop' }],
  retention: { minimumAge: '1s', keepWithin: '1s', keepManual: '1s', grace: '3d' },
});
const policy = { ...base, keys: { ...base.keys, trusted } };
const judge = (points: KnownPoint[], more: Partial<Parameters<typeof judgeSource>[0]> = {}) =>
  judgeSource({ policy, source: 'shop', points, storeNow, marks: [], decided: [], ...more });

describe('a point as retention sees it', () => {
  test('is as old as the first store says that got it', () => {
    const copies = [verified(nightsAgo(1)), verified(nightsAgo(9)), { ...verified(nightsAgo(20)), state: 'failed' }];
    expect(retainedPoint(known({ id: 'a' }, '', { copies }), trusted)?.storedAt).toBe(nightsAgo(9));
  });

  test('is locked as long as its longest lock, and held wherever a store holds it', () => {
    const copies = [
      verified(nightsAgo(1), { lockedUntil: nightsAgo(-5) }),
      verified(nightsAgo(1), { lockedUntil: nightsAgo(-9), held: true }),
    ];
    expect(retainedPoint(known({ id: 'a' }, '', { copies }), trusted)).toMatchObject({
      lockedUntil: nightsAgo(-9),
      holds: ['by the store itself'],
    });
  });

  test('is held by whom its notes name, until they lift it', () => {
    const note: HoldNote = {
      ...{ format: holdFormat, action: 'add', source: 'shop', point: 'a' },
      ...{ operator: 'Ada', reason: 'a lawsuit', at: '2026-03-01T08:00:00.000Z' },
    };
    const point = known({ id: 'a' }, nightsAgo(1), { holds: [note] });
    expect(retainedPoint(point, trusted)?.holds).toEqual([expect.stringContaining('Ada')]);
    point.holds.push({ ...note, action: 'remove', at: '2026-03-02T08:00:00.000Z' });
    expect(retainedPoint(point, trusted)?.holds).toEqual([]);
  });

  test('does not count when its key is not trusted any more, or its copies contradict', () => {
    const foreign = known({ id: 'a', signedBy: stranger }, nightsAgo(1));
    expect(retainedPoint(foreign, trusted)?.trusted).toBe(false);
    const torn = known({ id: 'a' }, nightsAgo(1), { contradicted: true });
    expect(retainedPoint(torn, trusted)?.validated).toBe(false);
  });

  test('is none where it lies in no store', () => {
    expect(retainedPoint(known({ id: 'a' }, '', { copies: [] }), trusted)).toBeNull();
  });
});

test('of several clocks the one that is behind counts', () => {
  expect(earliestOf([storeNow, nightsAgo(1), nightsAgo(0)])).toBe(nightsAgo(1));
});

describe('the points of a source', () => {
  const three = () => [9, 5, 1].map((n) => known({ id: `shop-${n}` }, nightsAgo(n)));

  test('are marked first, and removed once their grace is over', () => {
    expect(judge(three()).step).toEqual({ mark: ['shop-5', 'shop-9'], unmark: [], remove: [] });
    const marks = [
      { pointId: 'shop-9', markedAt: nightsAgo(4) },
      { pointId: 'shop-5', markedAt: nightsAgo(1) },
      { pointId: 'shop-1', markedAt: nightsAgo(4) },
    ];
    expect(judge(three(), { marks }).step).toEqual({ mark: [], unmark: ['shop-1'], remove: ['shop-9'] });
  });

  test('all stay when the source has changed suddenly, until a person has decided', () => {
    const big = [9, 8, 7, 6, 5].map((n) =>
      known({ id: `shop-${n}`, sourceBytes: 1e9, classes: ['daily'] }, nightsAgo(n)),
    );
    const points = [...big, known({ id: 'shop-1', sourceBytes: 1e6, classes: ['daily'] }, nightsAgo(1))];
    const marks = [{ pointId: 'shop-9', markedAt: nightsAgo(4) }];
    const few = { ...policy, calendar: { ...policy.calendar, daily: { ...policy.calendar.daily, keep: 1 } } };
    const stopped = judge(points, { marks, policy: few });
    expect(stopped.anomalies.map((a) => a.pointId)).toEqual(['shop-1']);
    expect(stopped.stopped).toContain('shop-1: source size');
    expect(stopped.step.remove).toEqual([]);
    const decided = judge(points, { marks, policy: few, decided: ['shop-1'] });
    expect(decided).toMatchObject({ stopped: null, step: { remove: ['shop-9'] } });
  });

  test('do not go on the word of points that do not count', () => {
    const forged = [1, 2, 3].map((n) => known({ id: `forged-${n}`, signedBy: stranger }, nightsAgo(n)));
    const { verdicts } = judge([known({ id: 'shop-9' }, nightsAgo(9)), ...forged]);
    expect(verdicts.filter((v) => !v.stays)).toEqual([]);
  });

  test('are nobody’s to judge when the policy does not have the source', () => {
    expect(() => judge(three(), { source: 'shpo' })).toThrow('shpo');
  });
});
