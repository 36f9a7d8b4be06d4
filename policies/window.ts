import { z } from 'zod';
import { weekdays } from './calendar-policy.ts';
import { dateOf, dayNumber, instantsOf, localTime, weekdayOf } from './zone.ts';

/** The `windows` of a source: the hours in which its backups may run (mission row A6). */

const clock = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'a time of day from 00:00 to 23:59');

export const backupWindow = z.strictObject({
  from: clock.describe('Local time at which it opens, HH:MM, on the clock of the calendar.'),
  to: clock.describe('Local time at which it closes; one that is not after `from` is on the next day.'),
  days: z
    .array(z.enum(weekdays))
    .min(1)
    .default([...weekdays])
    .describe('The days on which it opens; all of them when left out.'),
});
export type BackupWindow = z.infer<typeof backupWindow>;

export interface WindowState {
  isOpen: boolean;
  /** When that changes, ISO-8601; null when it never does. */
  until: string | null;
}

const minuteMs = 60_000;
/** Every weekday comes within a week; a time that a change of the clock leaves out comes within the next. */
const horizonDays = 15;

/**
 * Whether a source may be backed up at an instant, and until when that holds. Without windows it always may. Windows
 * that touch or overlap are one. A time that the clock was set forward over opens or closes at the first one after it.
 *
 * @param zone IANA time zone
 * @param at ISO-8601
 */
export function windowState(windows: BackupWindow[], zone: string, at: string): WindowState {
  if (windows.length === 0) return { isOpen: true, until: null };
  const now = Date.parse(at);
  const today = dayNumber(localTime(zone, now));
  const spans: { start: number; end: number }[] = [];
  // One that opened yesterday may still be open.
  for (let day = today - 1; day <= today + horizonDays; day++) {
    for (const window of windows) {
      if (!window.days.includes(weekdays[weekdayOf(day)] ?? 'sunday')) continue;
      const closingDay = window.to > window.from ? day : day + 1;
      spans.push({ start: instantOf(zone, day, window.from), end: instantOf(zone, closingDay, window.to) });
    }
  }
  spans.sort((a, b) => a.start - b.start);
  const current = spans.find((s) => s.start <= now && now < s.end);
  if (!current) {
    const next = spans.find((s) => s.start > now);
    return { isOpen: false, until: next ? new Date(next.start).toISOString() : null };
  }
  let end = current.end;
  for (const span of spans) if (span.start <= end) end = Math.max(end, span.end);
  const isEndless = end >= (spans.at(-1)?.end ?? end);
  return { isOpen: true, until: isEndless ? null : new Date(end).toISOString() };
}

/** The first instant at which the local clock shows the time, or has passed it. */
function instantOf(zone: string, day: number, time: string): number {
  const [hour, minute] = [Number(time.slice(0, 2)), Number(time.slice(3))];
  const date = dateOf(day);
  for (let later = 0; later < 24 * 60; later++) {
    const total = hour * 60 + minute + later;
    const shown = {
      ...dateOf(day + Math.floor(total / 1440)),
      hour: Math.floor((total % 1440) / 60),
      minute: total % 60,
    };
    const [first] = instantsOf(zone, shown);
    if (first !== undefined) return first;
  }
  return Date.UTC(date.year, date.month - 1, date.day, hour, minute) + 24 * 60 * minuteMs;
}
