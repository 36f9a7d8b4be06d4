import { type CalendarPolicy, type ScheduledClass, scheduledClasses } from './calendar-policy.ts';
import { durationSeconds } from './duration.ts';

const months = [
  ...(['JANUARY', 'FEBRUARY', 'MARCH', 'APRIL', 'MAY', 'JUNE'] as const),
  ...(['JULY', 'AUGUST', 'SEPTEMBER', 'OCTOBER', 'NOVEMBER', 'DECEMBER'] as const),
] as const;

/** A calendar in the form of Temporal's schedules, with only what a calendar needs. */
export interface ScheduleSpec {
  timezone: string;
  /** Milliseconds. */
  jitter: number;
  calendars: {
    comment: ScheduledClass | 'retention';
    minute: number;
    hour: number | { start: number; end: number; step: number };
    dayOfWeek?: Uppercase<CalendarPolicy['weekly']['day']>;
    dayOfMonth?: number;
    month?: (typeof months)[number];
  }[];
}

/**
 * What a source's one schedule in Temporal fires on: every moment of every class that is on. Which of them makes a
 * backup, and for which classes, is decided when it fires (`backupNow`).
 */
export function scheduleSpec(calendar: CalendarPolicy): ScheduleSpec {
  const { hourly, daily, weekly, monthly, yearly } = calendar;
  const rules: Record<ScheduledClass, Omit<ScheduleSpec['calendars'][number], 'comment'>> = {
    yearly: { ...clock(yearly.at), dayOfMonth: yearly.dayOfMonth, month: months[yearly.month - 1] },
    monthly: { ...clock(monthly.at), dayOfMonth: monthly.dayOfMonth },
    weekly: { ...clock(weekly.at), dayOfWeek: weekly.day.toUpperCase() as Uppercase<typeof weekly.day> },
    daily: clock(daily.at),
    hourly: { minute: hourly.minute, hour: { start: 0, end: 23, step: hourly.everyHours } },
  };
  return {
    timezone: calendar.timeZone,
    jitter: durationSeconds(calendar.jitter) * 1000,
    calendars: scheduledClasses
      .filter((name) => calendar[name].keep > 0)
      .map((name) => ({ comment: name, ...rules[name] })),
  };
}

/** A time of day from `HH:MM`. */
export function clock(at: string): { hour: number; minute: number } {
  return { hour: Number(at.slice(0, 2)), minute: Number(at.slice(3)) };
}
