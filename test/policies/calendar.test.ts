import { describe, expect, test } from '@jest/globals';
import { backupNow, clockChanges, type Due, duesBetween, nextDue } from '../../policies/calendar.ts';
import { type CalendarPolicy, calendarPolicy, scheduledClasses } from '../../policies/calendar-policy.ts';
import { localTime } from '../../policies/zone.ts';

type Given = Parameters<typeof calendarPolicy.parse>[0];
const calendarOf = (given: Given = {}): CalendarPolicy => calendarPolicy.parse(given);
const off = { keep: 0 };
const only = (given: object) =>
  calendarOf({ hourly: off, daily: off, weekly: off, monthly: off, yearly: off, ...given });

const brief = ({ at, classes, level }: Due) => `${at.slice(0, 16)} ${level}: ${classes.join(', ')}`;
const hours = (n: number) => n * 3_600_000;
const later = (instant: string, ms: number) => new Date(Date.parse(instant) + ms).toISOString();

describe('the calendar of grandfather, father and son', () => {
  const calendar = calendarOf();

  test('makes an incremental each day, a differential on Sundays, a full on the first and on New Year', () => {
    expect(duesBetween(calendar, '2026-12-26T00:00:00Z', '2027-01-04T00:00:00Z').map(brief)).toEqual([
      '2026-12-26T02:00 incremental: daily',
      '2026-12-27T03:00 differential: weekly, daily',
      '2026-12-28T02:00 incremental: daily',
      '2026-12-29T02:00 incremental: daily',
      '2026-12-30T02:00 incremental: daily',
      '2026-12-31T02:00 incremental: daily',
      '2027-01-01T05:00 full: yearly, monthly, daily',
      '2027-01-02T02:00 incremental: daily',
      '2027-01-03T03:00 differential: weekly, daily',
    ]);
  });

  test('lets one backup stand for all four classes on a New Year that is a Sunday', () => {
    expect(duesBetween(calendar, '2034-01-01T00:00:00Z', '2034-01-02T00:00:00Z').map(brief)).toEqual([
      '2034-01-01T05:00 full: yearly, monthly, weekly, daily',
    ]);
  });

  test('makes one backup on every single day of five years, leap day and all', () => {
    const dues = duesBetween(calendar, '2025-12-31T23:59:59Z', '2030-12-31T23:59:59Z');
    expect(new Set(dues.map((d) => d.at.slice(0, 10))).size).toBe(1826);
    expect(dues).toHaveLength(1826);
    const count = (name: string) => dues.filter((d) => d.classes.includes(name as never)).length;
    expect(scheduledClasses.map(count)).toEqual([5, 60, 261, 1826, 0]);
    expect(dues.map((d) => d.at.slice(0, 10))).toContain('2028-02-29');
  });

  test('says what comes next', () => {
    expect(nextDue(calendar, '2026-12-31T02:00:00Z')).toMatchObject({ at: '2027-01-01T05:00:00.000Z' });
    expect(nextDue(only({ yearly: {} }), '2026-01-01T05:00:00Z')).toMatchObject({ at: '2027-01-01T05:00:00.000Z' });
    expect(nextDue(only({}), '2026-01-01T05:00:00Z')).toBeNull();
  });
});

describe('classes that fall together', () => {
  test('are those within the window on the same local day', () => {
    const given = { daily: { at: '00:30' }, weekly: { at: '05:00' } };
    const sunday = (absorbWithin: string) =>
      duesBetween(calendarOf({ ...given, absorbWithin }), '2026-03-15T00:00:00Z', '2026-03-16T00:00:00Z').map(brief);
    expect(sunday('4h')).toEqual([
      '2026-03-15T00:30 incremental: daily',
      '2026-03-15T05:00 differential: weekly, daily'.replace(', daily', ''),
    ]);
    expect(sunday('5h')).toEqual(['2026-03-15T05:00 differential: weekly, daily']);
  });

  test('are not those of two days, however near', () => {
    const calendar = calendarOf({ daily: { at: '23:30' }, monthly: { at: '00:30' }, weekly: off, yearly: off });
    expect(duesBetween(calendar, '2026-03-31T00:00:00Z', '2026-04-01T12:00:00Z').map(brief)).toEqual([
      '2026-03-31T23:30 incremental: daily',
      '2026-04-01T00:30 full: monthly',
    ]);
  });

  test('take the highest level of them, whichever class has it', () => {
    const calendar = calendarOf({ weekly: { level: 'full' }, monthly: { level: 'differential' }, yearly: off });
    expect(duesBetween(calendar, '2026-03-01T00:00:00Z', '2026-03-02T00:00:00Z').map(brief)).toEqual([
      '2026-03-01T04:00 full: monthly, weekly, daily',
    ]);
  });

  test('leave hourly ones alone that are not due at about the same moment', () => {
    const calendar = only({ hourly: { keep: 24, everyHours: 6 }, daily: { at: '02:00', keep: 7 } });
    expect(duesBetween(calendar, '2026-03-02T00:00:00Z', '2026-03-03T00:00:00Z').map(brief)).toEqual([
      '2026-03-02T02:00 incremental: daily, hourly',
      '2026-03-02T06:00 incremental: hourly',
      '2026-03-02T12:00 incremental: hourly',
      '2026-03-02T18:00 incremental: hourly',
    ]);
  });
});

describe('when the clock is changed', () => {
  const newYork = only({ timeZone: 'America/New_York', daily: { at: '02:00', keep: 7 } });

  test('a time that it is set forward over is not due that day, and a person can see it', () => {
    const march = duesBetween(newYork, '2026-03-07T00:00:00Z', '2026-03-10T00:00:00Z').map((d) => d.at);
    expect(march).toEqual(['2026-03-07T07:00:00.000Z', '2026-03-09T06:00:00.000Z']);
    expect(clockChanges(newYork, '2026-01-01T05:00:00Z', '2026-12-31T00:00:00Z')).toEqual([
      { class: 'daily', date: '2026-03-08', at: '02:00', kind: 'missing' },
    ]);
  });

  test('the weekly backup an hour later stands for it with the usual calendar', () => {
    const usual = calendarOf({ timeZone: 'America/New_York' });
    expect(duesBetween(usual, '2026-03-08T05:00:00Z', '2026-03-09T04:00:00Z').map(brief)).toEqual([
      '2026-03-08T07:00 differential: weekly',
    ]);
  });

  test('a time that it is set back over is due once, the first time', () => {
    const calendar = only({ timeZone: 'Europe/Berlin', daily: { at: '02:30', keep: 7 } });
    expect(duesBetween(calendar, '2026-10-24T12:00:00Z', '2026-10-25T12:00:00Z').map((d) => d.at)).toEqual([
      '2026-10-25T00:30:00.000Z',
    ]);
    expect(clockChanges(calendar, '2026-10-24T12:00:00Z', '2026-10-25T12:00:00Z')).toEqual([
      { class: 'daily', date: '2026-10-25', at: '02:30', kind: 'twice' },
    ]);
  });

  test('hourly backups go on each real hour', () => {
    const calendar = only({ timeZone: 'Europe/Berlin', hourly: { keep: 24 } });
    for (const day of ['2026-03-29', '2026-10-25']) {
      const dues = duesBetween(calendar, `${day}T00:00:00Z`, `${day}T12:00:00Z`);
      expect(dues.map((d) => Date.parse(d.at) - Date.parse(`${day}T00:00:00Z`))).toEqual(
        Array.from({ length: 12 }, (_, i) => hours(i + 1)),
      );
    }
    expect(clockChanges(calendar, '2026-01-01T00:00:00Z', '2026-12-31T00:00:00Z')).toEqual([]);
  });

  test.each(['America/New_York', 'Europe/Berlin', 'Pacific/Auckland'])(
    'over five years in %s, what is due is what a clock on the wall shows',
    (timeZone) => {
      const calendar = calendarOf({ timeZone, daily: { at: '01:00' }, absorbWithin: '1s' });
      const [from, to] = ['2025-12-31T23:00:00Z', '2030-12-31T23:00:00Z'];
      // Somebody who looks at the clock every hour and writes down what is due; the second of two is crossed out.
      const seen = new Map<string, string>();
      for (let i = Date.parse(from) + hours(1); i <= Date.parse(to); i += hours(1)) {
        const { year, month, day, hour } = localTime(timeZone, i);
        const weekday = new Date(Date.UTC(year, month - 1, day)).getUTCDay();
        const due = [
          hour === 1 && 'daily',
          hour === 3 && weekday === 0 && 'weekly',
          hour === 4 && day === 1 && 'monthly',
          hour === 5 && day === 1 && month === 1 && 'yearly',
        ].find((name) => name !== false);
        const key = `${due} ${year}-${month}-${day}`;
        if (due && !seen.has(key)) seen.set(key, new Date(i).toISOString());
      }
      expect(duesBetween(calendar, from, to).map((d) => d.at)).toEqual([...seen.values()]);
    },
  );
});

describe('after an outage', () => {
  const calendar = calendarOf();
  const covered = '2026-12-20T03:00:00Z';

  test('one backup makes up for everything missed, the New Year among it', () => {
    const { backup, due, lapsed } = backupNow(calendar, { coveredUntil: covered, now: '2027-01-10T12:00:00Z' });
    expect(backup).toEqual({ classes: ['yearly', 'monthly', 'weekly', 'daily'], level: 'full' });
    expect(due).toHaveLength(21);
    expect(lapsed).toEqual([]);
  });

  test('what was missed before the catch-up window is let go', () => {
    const short = calendarOf({ catchUpWindow: '3d' });
    const { backup, due, lapsed } = backupNow(short, { coveredUntil: covered, now: '2027-01-09T12:00:00Z' });
    expect(backup).toEqual({ classes: ['daily'], level: 'incremental' });
    expect(due.map((d) => d.at.slice(0, 10))).toEqual(['2027-01-07', '2027-01-08', '2027-01-09']);
    expect(lapsed).toHaveLength(17);
  });

  test('nothing is made twice: not again when it is covered, nor before the class that stands for it', () => {
    const sunday = { coveredUntil: '2027-01-02T02:00:00Z', now: '2027-01-03T02:00:00Z' };
    expect(backupNow(calendar, sunday).backup).toBeNull();
    const due = { ...sunday, now: '2027-01-03T03:00:00Z' };
    expect(backupNow(calendar, due).backup).toEqual({ classes: ['weekly', 'daily'], level: 'differential' });
    expect(backupNow(calendar, { ...due, coveredUntil: due.now }).backup).toBeNull();
  });
});

/** The coordinator over some years: asked at each moment of the schedule while it is up, and when it is back. */
function live(calendar: CalendarPolicy, from: string, to: string, outages: { from: string; to: string }[]) {
  const isUp = (at: string) => !outages.some((o) => at >= o.from && at < o.to);
  const moments = duesBetween({ ...calendar, absorbWithin: '1s' }, from, to).map((d) => d.at);
  const asked = [...moments.filter(isUp), ...outages.map((o) => o.to)].sort();
  let coveredUntil = from;
  const made: { at: string; for: string[] }[] = [];
  const lapsed: string[] = [];
  for (const now of asked) {
    const decision = backupNow(calendar, { coveredUntil, now });
    lapsed.push(...decision.lapsed.map((d) => d.at));
    if (decision.backup) made.push({ at: now, for: decision.due.map((d) => d.at) });
    coveredUntil =
      [...decision.lapsed, ...decision.due]
        .map((d) => d.at)
        .sort()
        .at(-1) ?? coveredUntil;
  }
  return { made, lapsed };
}

describe('over five years with an outage of three weeks', () => {
  const [from, to] = ['2026-01-01T00:00:00.000Z', '2030-12-31T00:00:00.000Z'];
  const outage = { from: '2027-12-20T10:00:00.000Z', to: '2028-01-10T10:00:00.000Z' };

  test.each(['UTC', 'America/New_York', 'Europe/London', 'Australia/Lord_Howe'])(
    'in %s every backup that is due is made once, in time but for the outage, and the New Year is not lost',
    (timeZone) => {
      const calendar = calendarOf({ timeZone });
      const { made, lapsed } = live(calendar, from, to, [outage]);
      expect(lapsed).toEqual([]);
      expect(made.flatMap((m) => m.for)).toEqual(duesBetween(calendar, from, to).map((d) => d.at));
      const late = made.filter((m) => m.for.length > 1 || m.at !== m.for[0]);
      expect(late).toEqual([{ at: outage.to, for: expect.any(Array) }]);
      expect(late[0]?.for).toHaveLength(21);
    },
  );

  test('with a window of three days, what was missed earlier is let go and named', () => {
    const calendar = calendarOf({ catchUpWindow: '3d' });
    const { made, lapsed } = live(calendar, from, to, [outage]);
    expect(lapsed).toHaveLength(18);
    expect(lapsed.every((at) => at >= outage.from && at < later(outage.to, -hours(72)))).toBe(true);
    expect([...made.flatMap((m) => m.for), ...lapsed].sort()).toEqual(duesBetween(calendar, from, to).map((d) => d.at));
  });
});
