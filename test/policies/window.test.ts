import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { weekdays } from '../../policies/calendar-policy.ts';
import { type BackupWindow, backupWindow, windowState } from '../../policies/window.ts';

const window = (from: string, to: string, days?: BackupWindow['days']): BackupWindow =>
  backupWindow.parse({ from, to, ...(days ? { days } : {}) });
const night = window('22:00', '06:00');

describe('a backup window', () => {
  test('that is not there is always open', () => {
    expect(windowState([], 'UTC', '2026-06-01T12:00:00Z')).toEqual({ isOpen: true, until: null });
  });

  test.each([
    ['in the evening', '2026-06-01T22:00:00.000Z', true, '2026-06-02T06:00:00.000Z'],
    ['past midnight', '2026-06-02T03:00:00.000Z', true, '2026-06-02T06:00:00.000Z'],
    ['from the moment it closes', '2026-06-02T06:00:00.000Z', false, '2026-06-02T22:00:00.000Z'],
    ['at noon', '2026-06-02T12:00:00.000Z', false, '2026-06-02T22:00:00.000Z'],
  ])('over midnight is judged %s', (_, at, isOpen, until) => {
    expect(windowState([night], 'UTC', at)).toEqual({ isOpen, until });
  });

  test('on some days only opens on those; its end may lie on the day after', () => {
    const weekend = window('20:00', '04:00', ['saturday', 'sunday']);
    // 2026-06-01 was a Monday: what opened on Sunday is still open at three.
    expect(windowState([weekend], 'UTC', '2026-06-01T03:00:00Z').isOpen).toBe(true);
    expect(windowState([weekend], 'UTC', '2026-06-01T21:00:00Z')).toEqual({
      isOpen: false,
      until: '2026-06-06T20:00:00.000Z',
    });
  });

  test('that touches another is one with it', () => {
    const both = [window('20:00', '23:00'), window('23:00', '02:00')];
    expect(windowState(both, 'UTC', '2026-06-01T20:30:00Z').until).toBe('2026-06-02T02:00:00.000Z');
  });

  test('of a whole day never closes', () => {
    expect(windowState([window('00:00', '00:00')], 'UTC', '2026-06-01T12:00:00Z')).toEqual({
      isOpen: true,
      until: null,
    });
  });

  test('goes by the local clock', () => {
    expect(windowState([night], 'America/New_York', '2026-06-02T03:00:00Z')).toEqual({
      isOpen: true,
      until: '2026-06-02T10:00:00.000Z',
    });
  });

  test('opens after the hour that the clock was set forward over', () => {
    // Berlin, 2026-03-29: 02:00 became 03:00.
    const early = window('02:30', '05:00');
    expect(windowState([early], 'Europe/Berlin', '2026-03-29T00:30:00Z')).toEqual({
      isOpen: false,
      until: '2026-03-29T01:00:00.000Z',
    });
  });

  const time = fc
    .tuple(fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 }))
    .map(([h, m]) => `${String(h).padStart(2, '0')}:${String(m).padStart(2, '0')}`);
  const some = fc
    .record({ from: time, to: time, days: fc.subarray([...weekdays], { minLength: 1 }) })
    .map((w) => backupWindow.parse(w));
  const zone = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe');
  const instant = fc.integer({ min: Date.UTC(2026), max: Date.UTC(2028) }).map((ms) => new Date(ms).toISOString());

  test('is, at the moment that was named, in the other state', () => {
    fc.assert(
      fc.property(fc.array(some, { minLength: 1, maxLength: 3 }), zone, instant, (windows, where, at) => {
        const { isOpen, until } = windowState(windows, where, at);
        if (until === null) return expect(isOpen).toBe(true);
        expect(until > at).toBe(true);
        expect(windowState(windows, where, until).isOpen).toBe(!isOpen);
        expect(windowState(windows, where, new Date(Date.parse(until) - 1).toISOString()).isOpen).toBe(isOpen);
      }),
      { numRuns: 300 },
    );
  });

  test('is open when the clock on the wall says so and not otherwise, whatever the season', () => {
    const hour = 3_600_000;
    fc.assert(
      fc.property(fc.array(some, { minLength: 1, maxLength: 3 }), zone, instant, (windows, where, at) => {
        const now = Date.parse(at);
        // In the hours around it, a clock that is set shows some times twice, and others never.
        fc.pre(wallOffset(where, now - 2 * hour) === wallOffset(where, now + 2 * hour));
        const { day, clock } = onTheWall(where, now);
        const before = weekdays[(weekdays.indexOf(day) + 6) % 7] as (typeof weekdays)[number];
        const covers = ({ from, to, days }: BackupWindow) =>
          from < to
            ? days.includes(day) && from <= clock && clock < to
            : (days.includes(day) && from <= clock) || (days.includes(before) && clock < to);
        expect(windowState(windows, where, at).isOpen).toBe(windows.some(covers));
      }),
      { numRuns: 500 },
    );
  });
});

/** As everybody else tells the time there. */
function onTheWall(zone: string, at: number): { day: (typeof weekdays)[number]; clock: string } {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone,
    ...{ weekday: 'long', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
  });
  const parts = new Map(format.formatToParts(at).map((p) => [p.type, p.value]));
  const day = (parts.get('weekday') ?? '').toLowerCase() as (typeof weekdays)[number];
  return { day, clock: `${parts.get('hour')}:${parts.get('minute')}` };
}

function wallOffset(zone: string, at: number): string {
  const format = new Intl.DateTimeFormat('en', { timeZone: zone, timeZoneName: 'longOffset' });
  return format.formatToParts(at).find((p) => p.type === 'timeZoneName')?.value ?? '';
}
