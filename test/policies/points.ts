import { type CalendarPolicy, calendarPolicy } from '../../policies/calendar-policy.ts';
import type { RetainedPoint, RetentionInput } from '../../policies/retention.ts';
import { type RetentionPolicy, retentionPolicy } from '../../policies/retention-policy.ts';

export const calendarOf = (given: Parameters<typeof calendarPolicy.parse>[0] = {}): CalendarPolicy =>
  calendarPolicy.parse(given);
export const retentionOf = (given: Parameters<typeof retentionPolicy.parse>[0] = {}): RetentionPolicy =>
  retentionPolicy.parse(given);

const dayMs = 86_400_000;
export const storeNow = '2026-06-15T12:00:00.000Z';
const lastNight = Date.parse('2026-06-15T02:30:00.000Z');
/** Half past two at night, so many days before `storeNow`. */
export const nightsAgo = (days: number) => new Date(lastNight - days * dayMs).toISOString();

/** A daily point that counts, from last night unless said otherwise. */
export function pointOf(pointId: string, more: Partial<RetainedPoint> = {}): RetainedPoint {
  return {
    pointId,
    parent: null,
    classes: ['daily'],
    storedAt: nightsAgo(0),
    validated: true,
    trusted: true,
    lockedUntil: null,
    holds: [],
    readers: [],
    ...more,
  };
}

/** With little beside the counts, so that they show. */
export function inputOf(points: RetainedPoint[], more: Partial<RetentionInput> = {}): RetentionInput {
  return {
    points,
    calendar: calendarOf(),
    retention: retentionOf({ minimumAge: '1s', keepWithin: '1s', keepManual: '1s' }),
    storeNow,
    stopped: null,
    ...more,
  };
}
