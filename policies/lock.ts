import { type CalendarPolicy, scheduledClasses } from './calendar-policy.ts';
import { durationSeconds } from './duration.ts';
import type { CopyPolicy, Policy } from './policy.ts';
import { type BackupClass, backupClass } from './recovery-point.ts';

const dayMs = 86_400_000;

/** The longest that each period can be, in days, so that a lock never ends before the class would keep the point. */
export const longestDays = { yearly: 366, monthly: 31, weekly: 7, daily: 1, hourly: 1 } as const;

/**
 * Until when a point of these classes is locked (mission row B8): for as long as the calendar keeps the longest of its
 * immutable classes, ISO-8601; null when none of them is immutable.
 *
 * @param storedAt ISO-8601
 */
export function lockedUntil(calendar: CalendarPolicy, classes: BackupClass[], storedAt: string): string | null {
  const keepMs = immutableMs(calendar, classes);
  return keepMs === 0 ? null : new Date(Date.parse(storedAt) + keepMs).toISOString();
}

function immutableMs(calendar: CalendarPolicy, classes: readonly BackupClass[]): number {
  const days = scheduledClasses
    .filter((name) => classes.includes(name) && calendar[name].immutable)
    .map((name) => calendar[name].keep * longestDays[name]);
  return Math.max(0, ...days) * dayMs;
}

/** How every object of a point is locked in a store, as part of a plan. */
export interface PlannedLock {
  mode: 'compliance' | 'governance';
  /** From the moment of publication, by the store's clock. */
  keepMs: number;
}

/**
 * The lock that a point of these classes gets in a copy: as long as the calendar keeps its immutable classes, or longer
 * where the copy's own `keep` says so; the longest counts. Null where the copy has no lock, or none for these classes.
 */
export function lockFor(
  copy: CopyPolicy,
  calendar: CalendarPolicy,
  classes: readonly BackupClass[],
): PlannedLock | null {
  if (copy.kind !== 's3' || copy.lock === undefined) return null;
  const { mode, keep } = copy.lock;
  const own = classes.map((name) => (keep[name] === undefined ? 0 : durationSeconds(keep[name]) * 1000));
  const keepMs = Math.max(immutableMs(calendar, classes), ...own);
  return keepMs === 0 ? null : { mode, keepMs };
}

/** The longest lock that a copy's policy asks for, of any class of any source. 0 for none. */
export function longestLockMs({ calendar, sources }: Pick<Policy, 'calendar' | 'sources'>, copy: CopyPolicy): number {
  const calendars = [calendar, ...sources.flatMap((s) => s.calendar ?? [])];
  return Math.max(...calendars.map((own) => lockFor(copy, own, backupClass.options)?.keepMs ?? 0));
}

/**
 * Until when an object that is put now is to be locked. What is promised counts from publication, which comes last and
 * within the copy's deadline: so no object's lock ends before that of backup.json should.
 *
 * @param now milliseconds since 1970
 */
export function lockUntil(lock: PlannedLock, deadlineMs: number, now: number): string {
  return new Date(now + lock.keepMs + deadlineMs).toISOString();
}

/**
 * What is wrong with an object's lock, in words; null when it is locked as long as promised. Both times are the store's
 * own, so that a wrong clock here shows.
 */
export function lockProblem(
  lock: PlannedLock,
  stored: { modifiedAt: string; lockedUntil: string | null },
): string | null {
  if (stored.lockedUntil === null) return 'it is not locked';
  const promised = Date.parse(stored.modifiedAt) + lock.keepMs;
  if (Date.parse(stored.lockedUntil) >= promised) return null;
  return `it is locked until ${stored.lockedUntil}, not until ${new Date(promised).toISOString()}`;
}

/** What a copy's policy needs and the store lacks, one line each. */
export function missingFor(copy: CopyPolicy, has: { lock: boolean; versioning: boolean }): string[] {
  if (copy.kind !== 's3' || copy.lock === undefined) return [];
  return [
    ...(has.lock ? [] : ['Object Lock, which lock needs, and which a bucket has from its making']),
    ...(has.versioning ? [] : ['versioning, which lock needs']),
  ];
}
