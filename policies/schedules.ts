import { type CalendarPolicy, scheduledClasses } from './calendar-policy.ts';
import { durationSeconds } from './duration.ts';
import type { Policy } from './policy.ts';
import { queues } from './queues.ts';
import { clock, type ScheduleSpec, scheduleSpec } from './schedule-spec.ts';

/** What one schedule of Temporal is to do, as plain data that can be compared. */
export interface ScheduleDefinition {
  workflowType: string;
  taskQueue: string;
  /** The workflow's one argument. */
  input: Record<string, string>;
  spec: ScheduleSpec;
  overlap: CalendarPolicy['overlap'];
  /** Milliseconds. */
  catchUpWindowMs: number;
}

/** A schedule by its id, e.g. `backup/shop`. */
export interface NamedSchedule {
  id: string;
  definition: ScheduleDefinition;
}

export const backupScheduleId = (source: string): string => `backup/${source}`;

/** The schedules that a policy asks for: one per source whose calendar makes any backup, and one that expires. */
export function desiredSchedules(policy: Policy): NamedSchedule[] {
  const backups = policy.sources.flatMap((source) => {
    const calendar = source.calendar ?? policy.calendar;
    if (scheduledClasses.every((name) => calendar[name].keep === 0)) return [];
    const definition: ScheduleDefinition = {
      workflowType: 'scheduledBackup',
      taskQueue: queues.coordination,
      input: { source: source.name },
      spec: scheduleSpec(calendar),
      overlap: calendar.overlap,
      catchUpWindowMs: durationSeconds(calendar.catchUpWindow) * 1000,
    };
    return [{ id: backupScheduleId(source.name), definition }];
  });
  return policy.sources.length === 0 ? [] : [...backups, retentionSchedule(policy)];
}

export const retentionScheduleId = 'retention';
const dayMs = 86_400_000;

/** Each day at a quiet time, what may go of all sources goes. A run that was missed needs no making up for. */
function retentionSchedule({ calendar, retention }: Policy): NamedSchedule {
  const definition: ScheduleDefinition = {
    workflowType: 'retention',
    taskQueue: queues.coordination,
    input: {},
    spec: {
      timezone: calendar.timeZone,
      jitter: durationSeconds(calendar.jitter) * 1000,
      calendars: [{ comment: 'retention', ...clock(retention.at) }],
    },
    overlap: 'skip',
    catchUpWindowMs: dayMs,
  };
  return { id: retentionScheduleId, definition };
}

export interface ScheduleChanges {
  create: NamedSchedule[];
  /** With what differs, one line each. */
  update: (NamedSchedule & { differences: string[] })[];
  remove: NamedSchedule[];
  same: NamedSchedule[];
}

/** What has to be done so that the schedules there are become those that are wanted. */
export function scheduleChanges(wanted: NamedSchedule[], there: NamedSchedule[]): ScheduleChanges {
  const changes: ScheduleChanges = { create: [], update: [], remove: [], same: [] };
  for (const schedule of wanted) {
    const now = there.find((t) => t.id === schedule.id);
    if (!now) {
      changes.create.push(schedule);
      continue;
    }
    const differences = differencesOf(now.definition, schedule.definition);
    if (differences.length === 0) changes.same.push(schedule);
    else changes.update.push({ ...schedule, differences });
  }
  changes.remove = there.filter((t) => wanted.every((w) => w.id !== t.id));
  return changes;
}

/** Keys of either whose values differ, the calendars by class: `daily: hour 2, minute 0 → hour 3, minute 0`. */
function differencesOf(before: ScheduleDefinition, after: ScheduleDefinition): string[] {
  const [a, b] = [flat(before), flat(after)];
  return [...new Set([...a.keys(), ...b.keys()])]
    .filter((key) => a.get(key) !== b.get(key))
    .map((key) => `${key}: ${a.get(key) ?? 'none'} → ${b.get(key) ?? 'none'}`);
}

function flat({ spec, ...rest }: ScheduleDefinition): Map<string, string> {
  const { calendars, ...others } = spec;
  const lines = Object.entries({ ...rest, ...others }).map(([key, value]) => [key, wordsOf(value)] as const);
  return new Map([...lines, ...calendars.map(({ comment, ...rule }) => [comment, wordsOf(rule)] as const)]);
}

function wordsOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  const entries = Object.entries(value)
    .filter(([, v]) => v !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([key, v]) => `${key} ${wordsOf(v)}`).join(', ');
}
