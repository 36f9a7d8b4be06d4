import { ActivityFailure, ApplicationFailure, ChildWorkflowFailure, TimeoutFailure } from '@temporalio/workflow';
import type { FailureType } from '../policies/failure.ts';

/** The innermost message: activity and child failures only wrap it. */
export function messageOf(error: unknown): string {
  const root = rootOf(error);
  return root instanceof Error ? root.message : String(root);
}

/** The type of what is behind an error, as declared in policies/failure.ts; null for what is no failure of ours. */
export function typeOf(error: unknown): string | null {
  const root = rootOf(error);
  return root instanceof ApplicationFailure ? (root.type ?? null) : null;
}

/**
 * What a workflow throws at its end. Temporal's own timeouts become failures of ours, with words and a next step;
 * everything else stays as it is.
 */
export function asJobFailure(error: unknown): unknown {
  const root = rootOf(error);
  return root instanceof ApplicationFailure && !chainOf(error).includes(root) ? root : error;
}

/** What a step failed of, as a failure of ours; null for anything else. */
export function causeOf(error: unknown): ApplicationFailure | null {
  const root = rootOf(error);
  return root instanceof ApplicationFailure ? root : null;
}

/** How a step ran out of time; null when it did not. */
export function timeoutOf(error: unknown): TimeoutFailure['timeoutType'] | null {
  return chainOf(error).find((e) => e instanceof TimeoutFailure)?.timeoutType ?? null;
}

function rootOf(error: unknown): unknown {
  const chain = chainOf(error);
  const timeout = chain.find((e) => e instanceof TimeoutFailure);
  const step = chain.find((e) => e instanceof ActivityFailure)?.activityType ?? 'A step';
  return timeout ? explained(step, timeout, error) : chain.at(-1);
}

/** From the outermost to what it wraps. */
function chainOf(error: unknown): unknown[] {
  const chain = [error];
  for (
    let at = error;
    (at instanceof ActivityFailure || at instanceof ChildWorkflowFailure) && at.cause;
    at = at.cause
  ) {
    chain.push(at.cause);
  }
  return chain;
}

/** A timeout in a person's words. Retries are over: a step that failed for a reason of its own ends with that one. */
function explained(step: string, { timeoutType }: TimeoutFailure, cause: unknown): ApplicationFailure {
  const failure = (type: FailureType, message: string, next: string) =>
    ApplicationFailure.create({ type, message, nonRetryable: true, details: [{ next }], cause: cause as Error });
  const doctor = 'See which worker is missing (backupctl doctor), start it, then run the job again.';
  switch (timeoutType) {
    case 'SCHEDULE_TO_START':
    case 'SCHEDULE_TO_CLOSE':
      return failure('WorkerMissing', `No worker was there in time for the step ${step}.`, doctor);
    case 'HEARTBEAT':
      return failure('WorkerMissing', `The worker that did the step ${step} was lost, time and again.`, doctor);
    default:
      return failure('StepTimedOut', `The step ${step} took longer than it may.`, 'Look at the log of its worker.');
  }
}
