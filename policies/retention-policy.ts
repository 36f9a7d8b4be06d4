import { z } from 'zod';
import { timeOfDay } from './calendar-policy.ts';
import { duration } from './duration.ts';

/** The `retention` of a policy file: what goes, beside the counts that the calendar has per class. */
export const retentionPolicy = z.strictObject({
  at: timeOfDay.default('12:00').describe('When each day what may go is looked for, by the clock of the calendar.'),
  minimumAge: duration.default('1d').describe('Nothing younger goes, whatever the counts say.'),
  keepWithin: duration.default('7d').describe('All points within this time of the newest stay.'),
  keepManual: duration.default('90d').describe('Points that people asked for stay this long.'),
  pointInTime: duration
    .default('31d')
    .describe('Every moment of this time back can be restored, where a source archives its WAL.'),
  grace: duration
    .default('3d')
    .describe('What may go is marked, and removed this much later unless it has to stay again.'),
});
export type RetentionPolicy = z.infer<typeof retentionPolicy>;
