import { duesBetween } from './calendar.ts';
import type { CalendarPolicy, ScheduledClass } from './calendar-policy.ts';
import { durationSeconds } from './duration.ts';
import { lockedUntil } from './lock.ts';
import type { Level } from './recovery-point.ts';
import { planRetention, type RetainedPoint } from './retention.ts';
import type { RetentionPolicy } from './retention-policy.ts';

/** A recovery point that a calendar would make and retention would remove. Times are milliseconds since 1970. */
export interface TimelinePoint {
  at: number;
  level: Level;
  classes: ScheduledClass[];
  /** Index of the point that it needs, null for a full one. */
  parent: number | null;
  /** Time since the state that it stores the difference to; 0 for a full one. */
  sinceMs: number;
  /** When it is removed; infinity when it is still there at the end. */
  goneAt: number;
}

export interface TimelineInput {
  calendar: CalendarPolicy;
  retention: RetentionPolicy;
  /** For sources that know no other level. */
  alwaysFull: boolean;
  /** ISO-8601. */
  from: string;
  to: string;
}

const dayMs = 86_400_000;

/**
 * Every point of a source between two moments, oldest first, as the calendar and retention themselves decide: every
 * backup succeeds at once, retention runs once a day, and what it lets go is removed after its grace.
 */
export function timelineOf({ calendar, retention, alwaysFull, from, to }: TimelineInput): TimelinePoint[] {
  const points: TimelinePoint[] = [];
  let alive: RetainedPoint[] = [];
  let lastFull: number | null = null;
  let nextRun = 0;
  for (const due of duesBetween(calendar, from, to)) {
    const at = Date.parse(due.at);
    const index = points.length;
    const level = alwaysFull || lastFull === null ? 'full' : due.level;
    const parent = level === 'full' ? null : level === 'differential' ? lastFull : index - 1;
    if (level === 'full') lastFull = index;
    const sinceMs = parent === null ? 0 : at - (points[parent]?.at ?? at);
    points.push({ at, level, classes: due.classes, parent, sinceMs, goneAt: Number.POSITIVE_INFINITY });
    alive.push({
      pointId: String(index),
      parent: parent === null ? null : String(parent),
      classes: due.classes,
      storedAt: due.at,
      validated: true,
      trusted: true,
      lockedUntil: lockedUntil(calendar, due.classes, due.at),
      holds: [],
      readers: [],
    });
    if (at < nextRun) continue;
    nextRun = at + dayMs / 2;
    const verdicts = planRetention({ points: alive, calendar, retention, storeNow: due.at, stopped: null });
    const going = new Set(verdicts.filter((v) => !v.stays).map((v) => v.pointId));
    if (going.size === 0) continue;
    for (const id of going) {
      const point = points[Number(id)];
      if (point) point.goneAt = at + durationSeconds(retention.grace) * 1000;
    }
    alive = alive.filter((p) => !going.has(p.pointId));
  }
  return points;
}
