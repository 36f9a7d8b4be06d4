import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { dateOf, dayNumber, instantsOf, isTimeZone, localTime, offsetAt, weekdayOf } from '../../policies/zone.ts';

const iso = (instants: number[]) => instants.map((i) => new Date(i).toISOString());
const at = (year: number, month: number, day: number, hour: number, minute = 0) => ({ year, month, day, hour, minute });

describe('the instants at which a local clock shows a time', () => {
  test.each([
    ['UTC', at(2028, 2, 29, 2), ['2028-02-29T02:00:00.000Z']],
    ['Asia/Kolkata', at(2026, 3, 1, 2), ['2026-02-28T20:30:00.000Z']],
    // Set forward from 02:00 to 03:00.
    ['America/New_York', at(2026, 3, 8, 1, 59), ['2026-03-08T06:59:00.000Z']],
    ['America/New_York', at(2026, 3, 8, 2), []],
    ['America/New_York', at(2026, 3, 8, 2, 59), []],
    ['America/New_York', at(2026, 3, 8, 3), ['2026-03-08T07:00:00.000Z']],
    // Set back from 02:00 to 01:00.
    ['America/New_York', at(2026, 11, 1, 1), ['2026-11-01T05:00:00.000Z', '2026-11-01T06:00:00.000Z']],
    ['America/New_York', at(2026, 11, 1, 2), ['2026-11-01T07:00:00.000Z']],
    // East of Greenwich, from 03:00 to 02:00.
    ['Europe/Berlin', at(2026, 10, 25, 2), ['2026-10-25T00:00:00.000Z', '2026-10-25T01:00:00.000Z']],
    ['Europe/Berlin', at(2026, 10, 25, 3), ['2026-10-25T02:00:00.000Z']],
    // By half an hour.
    ['Australia/Lord_Howe', at(2026, 10, 4, 2, 15), []],
    ['Australia/Lord_Howe', at(2026, 4, 5, 1, 45), ['2026-04-04T14:45:00.000Z', '2026-04-04T15:15:00.000Z']],
    // At midnight, so that the day begins at 01:00.
    ['America/Santiago', at(2026, 9, 6, 0, 30), []],
    // A whole day that Samoa left out.
    ['Pacific/Apia', at(2011, 12, 30, 12), []],
  ])('in %s for %j are %j', (zone, local, instants) => {
    expect(iso(instantsOf(zone, local))).toEqual(instants);
  });

  test('show that time, are in order, and are all of them', () => {
    const zone = fc.constantFrom(
      'America/New_York',
      'Europe/London',
      'Australia/Lord_Howe',
      'Africa/Casablanca',
      'UTC',
    );
    const minutes = fc.integer({ min: Date.UTC(2026, 0) / 60_000, max: Date.UTC(2031, 0) / 60_000 });
    fc.assert(
      fc.property(zone, minutes, (zone, minute) => {
        const instant = minute * 60_000;
        const local = localTime(zone, instant);
        const found = instantsOf(zone, local);
        expect(found).toContain(instant);
        expect(found).toEqual(found.toSorted((a, b) => a - b));
        for (const i of found) expect(localTime(zone, i)).toEqual(local);
      }),
      { numRuns: 1_000 },
    );
  });
});

test('offsets are east of Greenwich above zero, and change with the season', () => {
  expect(offsetAt('Europe/Berlin', Date.UTC(2026, 0))).toBe(3_600_000);
  expect(offsetAt('Europe/Berlin', Date.UTC(2026, 6))).toBe(7_200_000);
  expect(offsetAt('America/New_York', Date.UTC(2026, 0) + 0.5)).toBe(-18_000_000);
});

test('a time zone is one that the tz database has', () => {
  expect(['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires'].every(isTimeZone)).toBe(true);
  expect(['', 'Europe/Brelin', 'CEST!'].some(isTimeZone)).toBe(false);
});

describe('days', () => {
  test('are counted without gaps, over leap days and turns of the year', () => {
    fc.assert(
      fc.property(fc.integer({ min: -100_000, max: 100_000 }), (number) => {
        expect(dayNumber(dateOf(number))).toBe(number);
        expect(weekdayOf(number + 1)).toBe((weekdayOf(number) + 1) % 7);
      }),
    );
    expect(dateOf(dayNumber({ year: 2028, month: 2, day: 28 }) + 1)).toEqual({ year: 2028, month: 2, day: 29 });
  });

  test('have the weekday that calendars show', () => {
    expect(weekdayOf(dayNumber({ year: 2026, month: 3, day: 8 }))).toBe(0);
    expect(weekdayOf(dayNumber({ year: 1969, month: 7, day: 20 }))).toBe(0);
    expect(weekdayOf(dayNumber({ year: 2028, month: 2, day: 29 }))).toBe(2);
  });
});
