import { describe, expect, test } from '@jest/globals';
import { lockedUntil } from '../../policies/lock.ts';
import { planRetention } from '../../policies/retention.ts';
import { calendarOf, inputOf, pointOf } from './points.ts';

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
