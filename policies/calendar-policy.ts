import { z } from 'zod';
import { duration } from './duration.ts';
import { level } from './recovery-point.ts';

/** The `calendar` of a policy file: when backups of which class are made, and how many of them are kept. */

export const weekdays = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'] as const;

const levelKey = level.describe('full; differential: since the last full; incremental: since the last of any level.');
const keepKey = z.int().min(0).max(10_000).describe('How many are kept, the newest of each period; 0: none are made.');
const immutableKey = z
  .boolean()
  .default(false)
  .describe('Locked for as long as its class keeps it, in every copy that has a lock.');
export const timeOfDay = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'a time of day from 00:00 to 23:59');
const at = timeOfDay.describe('Local time of day, HH:MM.');
/** Days that every month has. */
const dayOfMonth = z.int().min(1).max(28).describe('Day of the month, 1 to 28: those that every month has.');

const hourly = z.strictObject({
  minute: z.int().min(0).max(59).default(0).describe('Minute of the hour.'),
  everyHours: z.int().min(1).max(12).default(1).describe('Hours between two, counted from midnight.'),
  level: levelKey.default('incremental'),
  keep: keepKey.default(0),
  immutable: immutableKey,
});
const daily = z.strictObject({
  at: at.default('02:00'),
  level: levelKey.default('incremental'),
  keep: keepKey.default(7),
  immutable: immutableKey,
});
const weekly = z.strictObject({
  day: z.enum(weekdays).default('sunday').describe('Day of the week.'),
  at: at.default('03:00'),
  level: levelKey.default('differential'),
  keep: keepKey.default(4),
  immutable: immutableKey,
});
const monthly = z.strictObject({
  dayOfMonth: dayOfMonth.default(1),
  at: at.default('04:00'),
  level: levelKey.default('full'),
  keep: keepKey.default(12),
  immutable: immutableKey,
});
const yearly = z.strictObject({
  month: z.int().min(1).max(12).default(1).describe('Month, 1 for January.'),
  dayOfMonth: dayOfMonth.default(1),
  at: at.default('05:00'),
  level: levelKey.default('full'),
  keep: keepKey.default(7),
  immutable: immutableKey.default(true),
});

export const calendarPolicy = z.strictObject({
  timeZone: z.string().default('UTC').describe('IANA name, e.g. Europe/Berlin: whose clock is meant.'),
  jitter: duration.default('5m').describe('Each backup begins up to this much later, so that not all begin at once.'),
  overlap: z
    .enum(['skip', 'buffer-one'])
    .default('buffer-one')
    .describe('When the last one still runs: skip the new one, or buffer-one to run it afterwards.'),
  catchUpWindow: duration
    .default('31d')
    .describe('After an outage, what was missed within this time is made up for, by one backup for all of it.'),
  absorbWithin: duration
    .default('4h')
    .describe('Of classes due within this time of each other on one day, one backup of the highest stands for all.'),
  hourly: hourly.prefault({}).describe('A backup every few hours; off unless keep says otherwise.'),
  daily: daily.prefault({}).describe('A backup each day.'),
  weekly: weekly.prefault({}).describe('A backup each week.'),
  monthly: monthly.prefault({}).describe('A backup each month.'),
  yearly: yearly.prefault({}).describe('A backup each year.'),
});
export type CalendarPolicy = z.infer<typeof calendarPolicy>;

/** The classes that a calendar makes, highest first. */
export const scheduledClasses = ['yearly', 'monthly', 'weekly', 'daily', 'hourly'] as const;
export type ScheduledClass = (typeof scheduledClasses)[number];
