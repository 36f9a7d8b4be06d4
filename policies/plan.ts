import type { BackupPlan, PlannedCopy } from './backup-plan.ts';
import type { CalendarPolicy } from './calendar-policy.ts';
import { type ChainPoint, chooseParent } from './chain.ts';
import { durationSeconds } from './duration.ts';
import { Failure } from './failure.ts';
import { lockFor } from './lock.ts';
import type { CopyPolicy, Policy, SourcePolicy } from './policy.ts';
import { type BackupClass, type BackupJson, type Level, storedBytes } from './recovery-point.ts';
import { type WindowState, windowState } from './window.ts';

export interface PlanRequest {
  source: string;
  level: Level;
  classes: BackupClass[];
  /** ISO-8601; becomes part of the id. */
  now: string;
  /** Six or more characters of [a-z0-9], to tell points of one second apart. */
  random: string;
  /** Of the source, newest first. */
  points: PlanPoint[];
  /** Of these, the ones that are about to be removed. */
  expiring?: readonly string[];
  /** A person wants it now, whatever the source's windows say. */
  anytime?: boolean;
}

type PlanPoint = ChainPoint & { backup: Pick<BackupJson, 'content'> };

/** Points that a plan looks at: sizes of the last ones, and a chain behind the newest that may be built upon. */
export const planPointsMax = 300;
const historyMax = 30;

/** The source's policy. Throws SourceUnknown, naming those there are. */
export function sourcePolicy(policy: Policy, name: string): SourcePolicy {
  const found = policy.sources.find((s) => s.name === name);
  if (found) return found;
  const known = policy.sources.map((s) => s.name).join(', ') || 'none';
  throw new Failure('SourceUnknown', `The policy has no source named "${name}" (it has: ${known}).`, {
    next: 'Use one of those names, or add the source to the policy file and restart the workers.',
  });
}

/** Turns a request into a plan. Pure: the same request and policy give the same plan. */
export function planBackup(policy: Policy, request: PlanRequest): BackupPlan {
  const source = sourcePolicy(policy, request.source);
  const { level, points, now } = request;
  const identity: Record<string, string> = 'path' in source ? { path: source.path } : {};
  const { kind, host } = source;
  const { expiring = [] } = request;
  const chosen = chooseParent(policy, points, { level, kind, host, identity, now, expiring });
  const fulls = points.filter((p) => p.backup.level === 'full');
  const hours = request.anytime ? always : sourceHours(policy, source.name, request.now);
  const stamp = request.now.replace(/\.\d+Z$/, 'Z').replaceAll(/[-:]/g, '');
  return {
    pointId: `${source.name}-${stamp.toLowerCase()}-${request.random}`,
    plannedAt: request.now,
    source: source.name,
    kind: source.kind,
    host: source.host,
    level: chosen.parent ? level : 'full',
    parent: chosen.parent,
    classes: request.classes,
    critical: source.critical,
    priority: source.priority,
    copies: plannedCopies(policy, source.name, request.classes),
    sizeHistory: fulls.slice(0, historyMax).map((p) => storedBytes(p.backup)),
    contentHistory: points.slice(0, historyMax).map((p) => p.backup.content.sourceBytes),
    validationTimeoutMs: durationSeconds(policy.limits.validationTimeout) * 1000,
    notes: chosen.parent === null && chosen.note !== null ? [chosen.note] : [],
    ...(hours.until === null ? {} : hours.isOpen ? { closesAt: hours.until } : { waitUntil: hours.until }),
  };
}

const always: WindowState = { isOpen: true, until: null };

/** Whether the source may be backed up at an instant (ISO-8601). One that the policy no longer has keeps no hours. */
export function sourceHours(policy: Policy, name: string, at: string): WindowState {
  const source = policy.sources.find((s) => s.name === name);
  if (!source) return always;
  return windowState(source.windows, (source.calendar ?? policy.calendar).timeZone, at);
}

/** How a point of these classes lies in each copy. Of a source that the policy no longer has, by the common calendar. */
export function plannedCopies(policy: Policy, source: string, classes: BackupClass[]): PlannedCopy[] {
  const calendar = policy.sources.find((s) => s.name === source)?.calendar ?? policy.calendar;
  return policy.copies.map((c) => plannedCopy(c, calendar, classes));
}

function plannedCopy(copy: CopyPolicy, calendar: CalendarPolicy, classes: BackupClass[]): PlannedCopy {
  const lock = lockFor(copy, calendar, classes);
  return { name: copy.name, deadlineMs: durationSeconds(copy.deadline) * 1000, ...(lock === null ? {} : { lock }) };
}
