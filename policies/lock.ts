import { type CalendarPolicy, scheduledClasses } from './calendar-policy.ts';
import type { BackupClass } from './recovery-point.ts';

const dayMs = 86_400_000;

/** The longest that each period can be, in days, so that a lock never ends before the class would keep the point. */
const longestDays = { yearly: 366, monthly: 31, weekly: 7, daily: 1, hourly: 1 } as const;

/**
 * Until when a point of these classes is locked (mission row B8): for as long as the calendar keeps the longest of its
 * immutable classes, ISO-8601; null when none of them is immutable.
 *
 * @param storedAt ISO-8601
 */
export function lockedUntil(calendar: CalendarPolicy, classes: BackupClass[], storedAt: string): string | null {
  const days = scheduledClasses
    .filter((name) => classes.includes(name) && calendar[name].immutable)
    .map((name) => calendar[name].keep * longestDays[name]);
  const longest = Math.max(0, ...days);
  return longest === 0 ? null : new Date(Date.parse(storedAt) + longest * dayMs).toISOString();
}
