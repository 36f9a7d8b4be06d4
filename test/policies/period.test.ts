import { describe, expect, test } from '@jest/globals';
import { duesBetween } from '../../policies/calendar.ts';
import { type CalendarPolicy, type ScheduledClass, scheduledClasses } from '../../policies/calendar-policy.ts';
import { periodOf } from '../../policies/period.ts';
import { calendarOf } from './points.ts';

const hour = 3_600_000;
const alone = (name: ScheduledClass, calendar: CalendarPolicy) => ({
  ...calendar,
  ...Object.fromEntries(scheduledClasses.filter((c) => c !== name).map((c) => [c, { ...calendar[c], keep: 0 }])),
});

describe('the periods of a class', () => {
  test.each(
    ['UTC', 'Europe/Berlin', 'America/New_York'].flatMap((zone) =>
      scheduledClasses.flatMap((name) => [[zone, name] as const]),
    ),
  )('in %s hold one moment of the %s class each', (timeZone, name) => {
    const calendar = calendarOf({
      timeZone,
      hourly: { keep: 24, everyHours: 5 },
      weekly: { day: 'thursday' },
      monthly: { dayOfMonth: 28 },
      yearly: { month: 7, dayOfMonth: 4 },
    });
    const until = name === 'hourly' ? '2027-01-01T00:00:00Z' : '2031-01-01T00:00:00Z';
    const moments = duesBetween(alone(name, calendar), '2026-01-01T00:00:00Z', until);
    const periods = moments.map((d) => periodOf(calendar, name, Date.parse(d.at)));
    // An hour that comes twice may have two moments in one period.
    const twice = name === 'hourly' ? 1 : 0;
    expect(periods.length - new Set(periods).size).toBeLessThanOrEqual(twice);
    expect(periods).toEqual(periods.toSorted((a, b) => a - b));
  });

  test('hold a backup that is late by most of a period, and one that stood for it before its moment', () => {
    const calendar = calendarOf();
    const same = (name: ScheduledClass, due: string, stored: string) =>
      periodOf(calendar, name, Date.parse(due)) === periodOf(calendar, name, Date.parse(stored));
    expect(same('daily', '2026-06-14T02:00:00Z', '2026-06-14T21:59:59Z')).toBe(true);
    expect(same('daily', '2026-06-14T02:00:00Z', '2026-06-13T22:00:00Z')).toBe(true);
    expect(same('daily', '2026-06-14T02:00:00Z', '2026-06-13T21:59:59Z')).toBe(false);
    expect(same('weekly', '2026-06-14T03:00:00Z', '2026-06-20T22:00:00Z')).toBe(true);
    expect(same('monthly', '2026-06-01T04:00:00Z', '2026-06-30T23:00:00Z')).toBe(true);
    expect(same('yearly', '2028-01-01T05:00:00Z', '2028-12-31T23:00:00Z')).toBe(true);
    expect(same('yearly', '2028-01-01T05:00:00Z', '2029-01-01T01:00:00Z')).toBe(false);
  });

  test('are numbered upwards, without going back', () => {
    const calendar = calendarOf({ timeZone: 'Europe/Berlin', hourly: { keep: 1, everyHours: 7 } });
    for (const name of scheduledClasses.filter((c) => c !== 'hourly')) {
      const periods: number[] = [];
      for (let at = Date.UTC(2026, 0); at < Date.UTC(2028, 0); at += 5 * hour) {
        periods.push(periodOf(calendar, name, at));
      }
      expect(periods).toEqual(periods.toSorted((a, b) => a - b));
    }
  });
});
