import { type CalendarPolicy, type ScheduledClass, scheduledClasses, weekdays } from './calendar-policy.ts';
import { durationSeconds } from './duration.ts';
import type { Level } from './recovery-point.ts';
import { dateOf, dayNumber, instantsOf, type LocalDate, localTime, weekdayOf } from './zone.ts';

/**
 * When backups are due (mission row A2). Times are matched on the local clock literally, as Temporal's schedules do it:
 * a time that the clock was set forward over is not due that day, one that it was set back over comes twice, of which
 * the first counts. Where several classes fall together, that is on one local day and within `absorbWithin` of the
 * highest of them, one backup at the moment of the highest class stands for all, with the highest of their levels.
 */

export interface Due {
  /** ISO-8601, UTC. */
  at: string;
  /** Highest first. */
  classes: ScheduledClass[];
  level: Level;
}

/** The backups due after one instant and up to another, in order. Instants are ISO-8601. */
export function duesBetween(calendar: CalendarPolicy, after: string, upTo: string): Due[] {
  const [start, end] = [Date.parse(after), Date.parse(upTo)];
  const dues: Due[] = [];
  const lastDay = dayNumber(localTime(calendar.timeZone, end));
  for (let day = dayNumber(localTime(calendar.timeZone, start)); day <= lastDay; day++) {
    for (const due of duesOn(calendar, day)) {
      const at = Date.parse(due.at);
      if (at > start && at <= end) dues.push(due);
    }
  }
  return dues;
}

/** The longest that two moments of a calendar can lie apart: a year and its leap day. */
const horizonMs = 367 * 86_400_000;

/** The next backup after an instant; null when the calendar makes none. */
export function nextDue(calendar: CalendarPolicy, after: string): Due | null {
  const lastDay = dayNumber(localTime(calendar.timeZone, Date.parse(after) + horizonMs));
  for (let day = dayNumber(localTime(calendar.timeZone, Date.parse(after))); day <= lastDay; day++) {
    const due = duesOn(calendar, day).find((d) => Date.parse(d.at) > Date.parse(after));
    if (due) return due;
  }
  return null;
}

export interface Decision {
  /** The one backup to make now; null when nothing is due. */
  backup: Pick<Due, 'classes' | 'level'> | null;
  /** What it stands for, in order: more than one after an outage. */
  due: Due[];
  /** What was missed longer than `catchUpWindow` ago, and is let go. */
  lapsed: Due[];
}

/**
 * What to do now, at a moment of the schedule or whenever the coordinator is back after an outage: one backup for
 * everything that is due and not covered yet. So a schedule that fires several times for what was missed makes one
 * backup, and one that did not fire at all is made up for at the next moment.
 *
 * @param coveredUntil ISO-8601: everything due up to then is done, or was let go
 */
export function backupNow(
  calendar: CalendarPolicy,
  { coveredUntil, now }: { coveredUntil: string; now: string },
): Decision {
  const oldest = Date.parse(now) - durationSeconds(calendar.catchUpWindow) * 1000;
  const open = duesBetween(calendar, coveredUntil, now);
  const due = open.filter((d) => Date.parse(d.at) >= oldest);
  return {
    backup:
      due.length === 0
        ? null
        : together(
            due.flatMap((d) => d.classes),
            due.map((d) => d.level),
          ),
    due,
    lapsed: open.filter((d) => Date.parse(d.at) < oldest),
  };
}

export interface ClockChange {
  class: ScheduledClass;
  /** Local date, YYYY-MM-DD. */
  date: string;
  /** Local time, HH:MM. */
  at: string;
  /** `missing`: the clock was set forward over it, nothing is due. `twice`: it was set back over it, the first counts. */
  kind: 'missing' | 'twice';
}

/** The local days on which a change of the clock meets a moment of the calendar, for a person to choose another time. */
export function clockChanges(calendar: CalendarPolicy, after: string, upTo: string): ClockChange[] {
  const changes: ClockChange[] = [];
  const lastDay = dayNumber(localTime(calendar.timeZone, Date.parse(upTo)));
  for (let day = dayNumber(localTime(calendar.timeZone, Date.parse(after))); day <= lastDay; day++) {
    const date = dateOf(day);
    for (const { class: name, hour, minute } of timesOn(calendar, day)) {
      const count = instantsOf(calendar.timeZone, { ...date, hour, minute }).length;
      // An hourly backup that is missing or doubled with its hour is as it should be.
      if (count === 1 || name === 'hourly') continue;
      const at = `${digits(hour)}:${digits(minute)}`;
      changes.push({ class: name, date: isoDate(date), at, kind: count === 0 ? 'missing' : 'twice' });
    }
  }
  return changes;
}

interface Moment {
  class: ScheduledClass;
  instant: number;
}

function duesOn(calendar: CalendarPolicy, day: number): Due[] {
  const date = dateOf(day);
  const moments = timesOn(calendar, day).flatMap(({ class: name, hour, minute }) =>
    instantsOf(calendar.timeZone, { ...date, hour, minute })
      // Both hours are real ones; of anything longer, the second would be the same backup again.
      .slice(0, name === 'hourly' ? undefined : 1)
      .map((instant): Moment => ({ class: name, instant })),
  );
  const groups: Moment[][] = [];
  // Highest class first, and within a class in order: each either joins the first that is near enough, or stands alone.
  for (const moment of moments) {
    const near = groups.find(([first]) => first && isNear(calendar, first, moment));
    if (near) near.push(moment);
    else groups.push([moment]);
  }
  return groups
    .map((group) => {
      const classes = group.map((m) => m.class);
      const at = new Date(group[0]?.instant ?? 0).toISOString();
      return {
        at,
        ...together(
          classes,
          classes.map((c) => calendar[c].level),
        ),
      };
    })
    .sort((a, b) => (a.at < b.at ? -1 : 1));
}

function isNear(calendar: CalendarPolicy, first: Moment, { class: name, instant }: Moment): boolean {
  return Math.abs(instant - first.instant) <= reachSeconds(calendar, name) * 1000;
}

/**
 * Seconds that the backup which stands for a class may lie from its moment: `absorbWithin`, but no more than half of
 * what lies between two moments of the class.
 */
export function reachSeconds(calendar: CalendarPolicy, name: ScheduledClass): number {
  return Math.min(durationSeconds(calendar.absorbWithin), periodSeconds(calendar, name) / 2);
}

/** Local times of day at which the classes that are on fall due on a day, highest class first, each in order. */
function timesOn(calendar: CalendarPolicy, day: number): { class: ScheduledClass; hour: number; minute: number }[] {
  const { hourly, daily, weekly, monthly, yearly } = calendar;
  const date = dateOf(day);
  const times: Record<ScheduledClass, string[]> = {
    yearly: date.month === yearly.month && date.day === yearly.dayOfMonth ? [yearly.at] : [],
    monthly: date.day === monthly.dayOfMonth ? [monthly.at] : [],
    weekly: weekdays[weekdayOf(day)] === weekly.day ? [weekly.at] : [],
    daily: [daily.at],
    hourly: hoursOf(hourly.everyHours).map((hour) => `${digits(hour)}:${digits(hourly.minute)}`),
  };
  return scheduledClasses
    .filter((name) => calendar[name].keep > 0)
    .flatMap((name) =>
      times[name].map((at) => ({ class: name, hour: Number(at.slice(0, 2)), minute: Number(at.slice(3)) })),
    );
}

/** Hours of the day, every so many from midnight. */
function hoursOf(every: number): number[] {
  return Array.from({ length: Math.ceil(24 / every) }, (_, i) => i * every);
}

/** Seconds between two moments of a class, about. */
export function periodSeconds(calendar: CalendarPolicy, name: ScheduledClass): number {
  const days = { yearly: 365, monthly: 30, weekly: 7, daily: 1, hourly: calendar.hourly.everyHours / 24 };
  return days[name] * 86_400;
}

const levelRank: Record<Level, number> = { full: 0, differential: 1, incremental: 2 };

function together(classes: ScheduledClass[], levels: Level[]): Pick<Due, 'classes' | 'level'> {
  const level = levels.toSorted((a, b) => levelRank[a] - levelRank[b])[0] ?? 'full';
  return { classes: scheduledClasses.filter((name) => classes.includes(name)), level };
}

function isoDate({ year, month, day }: LocalDate): string {
  return `${String(year).padStart(4, '0')}-${digits(month)}-${digits(day)}`;
}

function digits(n: number): string {
  return String(n).padStart(2, '0');
}
