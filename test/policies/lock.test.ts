import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { lockedUntil, lockFor, lockProblem, lockUntil, missingFor } from '../../policies/lock.ts';
import { planRetention } from '../../policies/retention.ts';
import { calendarOf, inputOf, pointOf } from './points.ts';
import { policyOf } from './policies.ts';

const storedAt = '2026-01-01T05:20:00.000Z';

describe('a lock', () => {
  test('is for yearly points by default, for the seven years that they are kept', () => {
    expect(lockedUntil(calendarOf(), ['yearly', 'monthly', 'daily'], storedAt)).toBe('2033-01-06T05:20:00.000Z');
    expect(lockedUntil(calendarOf(), ['monthly', 'daily', 'manual'], storedAt)).toBeNull();
  });

  test('is the longest of the immutable classes, and none when none of a class is kept', () => {
    const calendar = calendarOf({ daily: { immutable: true }, weekly: { immutable: true }, yearly: { keep: 0 } });
    expect(lockedUntil(calendar, ['weekly', 'daily'], storedAt)).toBe('2026-01-29T05:20:00.000Z');
    expect(lockedUntil(calendar, ['yearly'], storedAt)).toBeNull();
  });

  test('never ends before retention would let the point go', () => {
    const calendar = calendarOf({ monthly: { keep: 3, immutable: true } });
    for (let month = 0; month < 12; month++) {
      const first = new Date(Date.UTC(2027, month, 1, 4, 30)).toISOString();
      const until = lockedUntil(calendar, ['monthly'], first) ?? '';
      const points = [0, 1, 2, 3].map((m) =>
        pointOf(`m${m}`, {
          classes: ['monthly'],
          storedAt: new Date(Date.UTC(2027, month + m, 1, 4, 30)).toISOString(),
        }),
      );
      const newest = points.at(-1)?.storedAt ?? '';
      const goes = planRetention(inputOf(points, { calendar, storeNow: newest })).find((v) => v.pointId === 'm0');
      expect(goes?.stays).toBe(false);
      expect(until >= newest).toBe(true);
    }
  });
});

const day = 86_400_000;
const bucket = { kind: 's3', name: 'vault', region: 'r', bucket: 'vault' };
const copyOf = (given: object) => {
  const [copy] = policyOf({ copies: [given] }).copies;
  if (!copy) throw new Error('there is no copy');
  return copy;
};

describe('the lock of a copy', () => {
  const vault = copyOf({ ...bucket, lock: { mode: 'governance', keep: { manual: '3d', yearly: '1d' } } });

  test('is on what the calendar calls immutable, as long as that is kept', () => {
    expect(lockFor(vault, calendarOf(), ['yearly', 'daily'])).toEqual({ mode: 'governance', keepMs: 7 * 366 * day });
    expect(lockFor(vault, calendarOf(), ['daily'])).toBeNull();
  });

  test('is longer, or on other classes, where the copy says so; the longest counts', () => {
    expect(lockFor(vault, calendarOf(), ['manual'])).toEqual({ mode: 'governance', keepMs: 3 * day });
    expect(lockFor(vault, calendarOf(), ['manual', 'yearly'])?.keepMs).toBe(7 * 366 * day);
  });

  test('is on nothing where the copy has none', () => {
    expect(lockFor(copyOf(bucket), calendarOf(), ['yearly'])).toBeNull();
    const disk = copyOf({ kind: 'directory', name: 'disk', region: 'r', path: '/srv/disk' });
    expect(lockFor(disk, calendarOf(), ['yearly'])).toBeNull();
  });
});

describe('locking an object', () => {
  const lock = { mode: 'compliance', keepMs: 7 * day } as const;
  const stored = (modifiedAt: string, until: string | null) => ({ modifiedAt, lockedUntil: until });

  test('at any time before the deadline lasts as long as promised, counted from publication', () => {
    fc.assert(
      fc.property(fc.nat(day), fc.nat(day), (put, rest) => {
        const published = put + Math.min(rest, day - put);
        expect(Date.parse(lockUntil(lock, day, put))).toBeGreaterThanOrEqual(published + lock.keepMs);
      }),
    );
  });

  test('has failed when it is not locked, or not long enough by the store’s own clock', () => {
    expect(lockProblem(lock, stored('2026-01-01T00:00:00Z', '2026-01-08T00:00:00Z'))).toBeNull();
    expect(lockProblem(lock, stored('2026-01-01T00:00:00Z', null))).toBe('it is not locked');
    expect(lockProblem(lock, stored('2026-01-01T00:00:01Z', '2026-01-08T00:00:00.000Z'))).toBe(
      'it is locked until 2026-01-08T00:00:00.000Z, not until 2026-01-08T00:00:01.000Z',
    );
  });

  test('takes a store that can', () => {
    const missing = (copy: object, has: { lock: boolean; versioning: boolean }) => missingFor(copyOf(copy), has).length;
    const [none, some] = [
      { lock: false, versioning: false },
      { lock: false, versioning: true },
    ];
    expect(missing({ ...bucket, lock: {} }, { lock: true, versioning: true })).toBe(0);
    expect(missing({ ...bucket, lock: {} }, some)).toBe(1);
    expect(missing({ ...bucket, lock: {} }, none)).toBe(2);
    expect(missing(bucket, none)).toBe(0);
  });
});
