import { ApplicationFailure } from '@temporalio/workflow';
import { restriction, type Strain, type StrainReport } from '../policies/strain.ts';
import type { CoordinatorSettings, OperatorAction, SlotRelease, SlotRequest } from './contracts.ts';

/**
 * What reaches the coordinator from outside is checked here: an exception in a signal handler would stop the workflow
 * task, and with it the whole fleet, until somebody mends it.
 */

export function isRelease(value: unknown): value is SlotRelease {
  const job = fields(value);
  return isText(job.workflowId) && isText(job.runId);
}

export function isRequest(value: unknown): value is SlotRequest {
  const job = fields(value);
  const isTurn = job.turn === undefined || (Number.isSafeInteger(job.turn) && Number(job.turn) >= 0);
  return (
    isRelease(value) &&
    isText(job.source) &&
    typeof job.critical === 'boolean' &&
    Number.isFinite(job.priority) &&
    isTurn
  );
}

const leaseMaxMs = 86_400_000;

export function isStrainReport(value: unknown): value is StrainReport {
  const { cause, why, leaseMs } = fields(value);
  const isLease = Number.isFinite(leaseMs) && Number(leaseMs) > 0 && Number(leaseMs) <= leaseMaxMs;
  return isText(cause) && (why === null || isText(why)) && isLease;
}

export function isSettings(value: unknown): value is CoordinatorSettings {
  const { slots, leaseTimeoutMs } = fields(value);
  return (
    Number.isSafeInteger(slots) && Number(slots) >= 1 && Number.isFinite(leaseTimeoutMs) && Number(leaseTimeoutMs) > 0
  );
}

/** Validator of the updates. Throws UsageInvalid, which the caller sees, and which leaves no trace in the history. */
export function assertNamed(action: OperatorAction): void {
  const { operator, reason } = fields(action);
  const missing = [...(isText(operator) ? [] : ['operator']), ...(isText(reason) ? [] : ['reason'])];
  if (missing.length === 0) return;
  throw ApplicationFailure.nonRetryable(
    `Refused: ${missing.join(' and ')} must be given, so that the record says who did it and why.`,
    'UsageInvalid',
    { next: 'Send {"operator": "NAME", "reason": "TEXT"}, both not empty.' },
  );
}

/** Validator of `lift`: nobody shall believe to have changed something. */
export function assertRestricted(strains: Strain[], action: OperatorAction): void {
  assertNamed(action);
  if (restriction(strains) !== null) return;
  throw ApplicationFailure.nonRetryable('There is nothing to lift: every source gets slots.', 'UsageInvalid', {
    next: 'See "backupctl status"; a coordinator that is paused is resumed by "backupctl coordinator resume".',
  });
}

function fields(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value.trim() !== '';
}
