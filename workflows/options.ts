import { ActivityCancellationType, type ActivityOptions } from '@temporalio/workflow';
import { failureTypes } from '../policies/failure.ts';

/** Declared once: the types that trying again cannot mend. Activities also mark them non-retryable themselves. */
const nonRetryableErrorTypes = Object.entries(failureTypes)
  .filter(([, f]) => !f.retryable)
  .map(([type]) => type);

const retry = {
  initialInterval: '1s',
  backoffCoefficient: 2,
  maximumInterval: '1m',
  nonRetryableErrorTypes,
} as const;

/** Seconds of work: plan, record, notify, clean up. */
export const short: ActivityOptions = {
  startToCloseTimeout: '2m',
  scheduleToCloseTimeout: '15m',
  heartbeatTimeout: '30s',
  retry,
};

/** Talking to the coordinator: a job must not end for its absence, nor leave its slot taken. */
export const patient: ActivityOptions = { startToCloseTimeout: '30s', scheduleToCloseTimeout: '1d', retry };

/** Reading a whole source. A worker that died is noticed by its heartbeat; the next attempt begins afresh. */
export const long: ActivityOptions = {
  startToCloseTimeout: '7d',
  scheduleToCloseTimeout: '7d',
  heartbeatTimeout: '20s',
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { ...retry, maximumAttempts: 8 },
};

/** Work with a deadline of its own, in which it may be tried as often as it fits. */
export function bounded(timeoutMs: number): ActivityOptions {
  return {
    startToCloseTimeout: timeoutMs,
    scheduleToCloseTimeout: timeoutMs,
    heartbeatTimeout: '20s',
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry,
  };
}

/** A restore that failed has removed what it wrote; trying more often is for the person who asked. */
export const restoring: ActivityOptions = { ...long, retry: { ...retry, maximumAttempts: 3 } };
