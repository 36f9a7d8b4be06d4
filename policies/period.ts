import { reachSeconds } from './calendar.ts';
import { type CalendarPolicy, type ScheduledClass, weekdays } from './calendar-policy.ts';
import { dateOf, offsetAt } from './zone.ts';

const dayMs = 86_400_000;
const hourMs = 3_600_000;

/**
 * The period of a class that an instant lies in, as a number that grows by one or more from each to the next: retention
 * keeps one point of each. A period begins as long before the class is due as another class may stand for it, so that
 * a backup that is late, by its own length or an outage, still counts for the moment that it was made for.
 *
 * @param instant milliseconds since 1970
 */
export function periodOf(calendar: CalendarPolicy, name: ScheduledClass, instant: number): number {
  const begins = dueMinute(calendar, name) * 60_000 - reachSeconds(calendar, name) * 1000;
  const wall = instant + offsetAt(calendar.timeZone, instant) - begins;
  const day = Math.floor(wall / dayMs);
  switch (name) {
    case 'hourly': {
      const { everyHours } = calendar.hourly;
      return day * 24 + Math.floor((wall - day * dayMs) / hourMs / everyHours);
    }
    case 'daily':
      return day;
    case 'weekly':
      // 1970-01-01 was a Thursday, day 4 of a week that begins on Sunday.
      return Math.floor((day + 4 - weekdays.indexOf(calendar.weekly.day)) / 7);
    case 'monthly':
      return monthOf(day, calendar.monthly.dayOfMonth);
    case 'yearly': {
      const { month, dayOfMonth } = calendar.yearly;
      return Math.floor((monthOf(day, dayOfMonth) - (month - 1)) / 12);
    }
  }
}

/** Months since the year 0, each beginning on the given day. */
function monthOf(day: number, firstDay: number): number {
  const date = dateOf(day);
  return date.year * 12 + (date.month - 1) - (date.day < firstDay ? 1 : 0);
}

/** Minutes after local midnight, or after the full hour for hourly backups. */
function dueMinute(calendar: CalendarPolicy, name: ScheduledClass): number {
  if (name === 'hourly') return calendar.hourly.minute;
  const { at } = calendar[name];
  return Number(at.slice(0, 2)) * 60 + Number(at.slice(3));
}
