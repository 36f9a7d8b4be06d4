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

/**
 * A task that nobody takes for so long has no worker, and is not waiting for one to restart: workers do at once as many
 * things as they can be asked for. The job then ends loudly; it must not keep one of the fleet's slots for days.
 */
const scheduleToStartTimeout = '30m';

/** Work whose bytes take their time. A worker that died is noticed by its heartbeat; one that is cancelled tidies up. */
const heavy: ActivityOptions = {
  scheduleToStartTimeout,
  heartbeatTimeout: '20s',
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry,
};

/** Seconds of work: plan, sign, clean up. */
export const short: ActivityOptions = {
  startToCloseTimeout: '2m',
  scheduleToCloseTimeout: '15m',
  heartbeatTimeout: '30s',
  retry,
};

/** Talking to the coordinator and the catalog: a job must not end for their absence, nor leave its slot taken. */
export const patient: ActivityOptions = { ...short, scheduleToCloseTimeout: '1d' };

/** Cleaning up where a host or a store is away: it may be away for long, and nobody waits for this. */
export const untiring: ActivityOptions = {
  startToCloseTimeout: '10m',
  scheduleToCloseTimeout: '30d',
  heartbeatTimeout: '30s',
  retry: { ...retry, maximumInterval: '10m' },
};

/** Reading a whole source, or all that was sealed. The next attempt begins afresh. */
export const long: ActivityOptions = {
  ...heavy,
  startToCloseTimeout: '7d',
  scheduleToCloseTimeout: '7d',
  retry: { ...retry, maximumAttempts: 8 },
};

/** Sending what is still being sealed, tried again for as long as that takes; a copy's deadline counts from its end. */
export const untilSealed: ActivityOptions = { ...heavy, startToCloseTimeout: '7d' };

/** What has reached its limit may take so long to tidy up: to stop its server, to remove its files, to end its requests. */
const tidyMs = 5 * 60_000;

/** One step of a copy, tried as often as fits into the copy's deadline, which `within` keeps. */
export function transferring(deadlineMs: number): ActivityOptions {
  return { ...heavy, startToCloseTimeout: deadlineMs + tidyMs };
}

/**
 * A test restore. It stops itself at its limit and tidies up; should it not, Temporal ends it. What ran out of time is
 * not tried again, what was lost with its worker is.
 */
export function testing(limitMs: number): ActivityOptions {
  return {
    ...heavy,
    startToCloseTimeout: limitMs + tidyMs,
    retry: {
      ...retry,
      maximumAttempts: 8,
      nonRetryableErrorTypes: [...nonRetryableErrorTypes, 'TemporalTimeout:StartToClose'],
    },
  };
}

/**
 * Streaming or carrying WAL for so long. Each attempt is the only one: before the next it is looked anew from where to
 * go on.
 */
export function archiving(roundMs: number): ActivityOptions {
  return {
    ...heavy,
    scheduleToStartTimeout: '5m',
    startToCloseTimeout: roundMs + tidyMs,
    retry: { maximumAttempts: 1 },
  };
}

/** What archiving can do without: nobody waits long for it. */
export const brief: ActivityOptions = {
  startToCloseTimeout: '1m',
  scheduleToCloseTimeout: '1m',
  heartbeatTimeout: '30s',
  retry: { maximumAttempts: 1 },
};

/** Removing from all copies. What was interrupted is finished by the next attempt, or by the next run. */
export const expiring: ActivityOptions = {
  ...heavy,
  startToCloseTimeout: '6h',
  scheduleToCloseTimeout: '12h',
  retry: { ...retry, maximumAttempts: 5 },
};

/** A restore that failed has removed what it wrote; trying more often is for the person who asked. */
export const restoring: ActivityOptions = { ...long, retry: { ...retry, maximumAttempts: 3 } };
