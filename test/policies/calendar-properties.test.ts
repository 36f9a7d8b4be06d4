import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { backupNow, duesBetween, nextDue } from '../../policies/calendar.ts';
import { calendarPolicy, scheduledClasses } from '../../policies/calendar-policy.ts';
import { dayNumber, localTime } from '../../policies/zone.ts';

const hours = (n: number) => n * 3_600_000;
const later = (instant: string, ms: number) => new Date(Date.parse(instant) + ms).toISOString();

const clock = fc
  .tuple(fc.integer({ min: 0, max: 23 }), fc.constantFrom(0, 15, 30, 59))
  .map(([h, m]) => `${String(h).padStart(2, '0')}:${String(m).padStart(2, '0')}`);
const level = fc.constantFrom('full' as const, 'differential' as const, 'incremental' as const);
const keep = fc.constantFrom(0, 1, 7);
const anyCalendar = fc
  .record({
    timeZone: fc.constantFrom('UTC', 'America/New_York', 'Europe/Berlin', 'Australia/Lord_Howe', 'America/Santiago'),
    absorbWithin: fc.constantFrom('1s', '30m', '4h', '1d'),
    catchUpWindow: fc.constantFrom('1h', '2d', '31d'),
    hourly: fc.record({ minute: fc.constantFrom(0, 30), everyHours: fc.integer({ min: 1, max: 12 }), level, keep }),
    daily: fc.record({ at: clock, level, keep }),
    weekly: fc.record({ at: clock, day: fc.constantFrom('sunday' as const, 'friday' as const), level, keep }),
    monthly: fc.record({ at: clock, dayOfMonth: fc.integer({ min: 1, max: 28 }), level, keep }),
    yearly: fc.record({
      at: clock,
      month: fc.integer({ min: 1, max: 12 }),
      dayOfMonth: fc.integer({ min: 1, max: 28 }),
      level,
      keep,
    }),
  })
  .map((given) => calendarPolicy.parse(given));
const anyInstant = fc
  .integer({ min: Date.UTC(2026, 0) / 1000, max: Date.UTC(2029, 0) / 1000 })
  .map((s) => new Date(s * 1000).toISOString());

describe('whatever the calendar', () => {
  test('every moment of every class that is on is in a backup of its day, of its level or a higher one', () => {
    const rank = { full: 0, differential: 1, incremental: 2 };
    fc.assert(
      fc.property(anyCalendar, anyInstant, (calendar, from) => {
        const to = later(from, hours(24 * 40));
        const dayOf = (at: string) => dayNumber(localTime(calendar.timeZone, Date.parse(at)));
        const byDay = Map.groupBy(duesBetween(calendar, from, to), (d) => dayOf(d.at));
        const lost: string[] = [];
        for (const name of scheduledClasses.filter((c) => calendar[c].keep > 0)) {
          const others = scheduledClasses.filter((c) => c !== name).map((c) => [c, { ...calendar[c], keep: 0 }]);
          const alone = { ...calendar, ...Object.fromEntries(others) };
          // A day's margin: what is due at the edges may be in a backup beyond them.
          for (const { at } of duesBetween(alone, later(from, hours(24)), later(to, -hours(24)))) {
            const holders = byDay.get(dayOf(at))?.filter((d) => d.classes.includes(name)) ?? [];
            if (!holders.some((d) => rank[d.level] <= rank[calendar[name].level])) lost.push(`${name} ${at}`);
          }
        }
        expect(lost).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  test('backups are in order, none twice, and cutting a span in two changes nothing', () => {
    fc.assert(
      fc.property(anyCalendar, anyInstant, fc.integer({ min: 0, max: 960 }), (calendar, from, cut) => {
        const to = later(from, hours(960));
        const middle = later(from, hours(cut));
        const all = duesBetween(calendar, from, to);
        const instants = all.map((d) => d.at);
        expect(instants).toEqual([...new Set(instants)].sort());
        expect([...duesBetween(calendar, from, middle), ...duesBetween(calendar, middle, to)]).toEqual(all);
      }),
      { numRuns: 60 },
    );
  });

  test('the next one is the first of those to come', () => {
    fc.assert(
      fc.property(anyCalendar, anyInstant, (calendar, from) => {
        const first = duesBetween(calendar, from, later(from, hours(24 * 60)))[0];
        const next = nextDue(calendar, from);
        if (first) expect(next).toEqual(first);
        else if (next) expect(Date.parse(next.at) - Date.parse(from)).toBeGreaterThan(hours(24 * 60));
      }),
      { numRuns: 60 },
    );
  });

  test('whenever it is asked, nothing is made twice or forgotten within the window', () => {
    fc.assert(
      fc.property(
        anyCalendar,
        anyInstant,
        fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 20 }),
        (calendar, from, waits) => {
          let [now, coveredUntil] = [from, from];
          const handled: string[] = [];
          for (const wait of waits) {
            now = later(now, hours(wait));
            const { due, lapsed, backup } = backupNow(calendar, { coveredUntil, now });
            expect(backup === null).toBe(due.length === 0);
            handled.push(...lapsed.map((d) => d.at), ...due.map((d) => d.at));
            coveredUntil = handled.at(-1) ?? coveredUntil;
          }
          expect(handled).toEqual(duesBetween(calendar, from, now).map((d) => d.at));
        },
      ),
      { numRuns: 60 },
    );
  });
});
