import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { TemporalFailure } from '@temporalio/common';
import { asDiskFailure } from '../engine/disk-failure.ts';
import { Failure } from '../policies/failure.ts';
import type { WalBeat } from '../workflows/contracts.ts';

/**
 * The one place where a Failure becomes Temporal's ApplicationFailure: its type and retryability carry over, the next
 * step travels in the details. So does what the disk of the host failed of. Anything else is a defect of ours and keeps its
 * own message.
 */
export function asTemporalFailure(error: unknown, signal: AbortSignal): Error {
  if (error instanceof TemporalFailure) return error;
  if (signal.aborted) {
    return signal.reason instanceof CancelledFailure
      ? signal.reason
      : new CancelledFailure('The activity was cancelled');
  }
  const failure = asDiskFailure(error);
  if (failure instanceof Failure) {
    return ApplicationFailure.create({
      type: failure.type,
      message: failure.message,
      nonRetryable: !failure.retryable,
      details: [{ next: failure.next, ...failure.details }],
    });
  }
  return error instanceof Error ? error : new Error(String(error));
}

/** What heartbeats carry: enough for a progress bar, and for the next attempt to go on. */
export interface Heartbeat {
  phase: string;
  bytesDone: number;
  bytesTotal: number;
  entriesDone: number;
  /** Resume tokens of uploads by object name. */
  resume?: Record<string, string>;
  /** How far archiving is. */
  wal?: WalBeat;
}

export interface ActivityTools {
  signal: AbortSignal;
  /** Remembers the newest progress; it is sent at once when a second has passed, and every five in any case. */
  report(progress: Partial<Heartbeat>): void;
  /** What the last attempt reported, null at the first. */
  previous: Heartbeat | null;
  attempt: number;
}

const beatEveryMs = 5_000;
const beatAtMostEveryMs = 1_000;

/**
 * Runs an activity's one engine call with heartbeats, cancellation and error types taken care of. It hears of its
 * cancellation by its heartbeats: `everyMs` apart where nothing is reported, default 5,000.
 */
export async function runActivity<T>(
  phase: string,
  body: (tools: ActivityTools) => Promise<T>,
  { everyMs = beatEveryMs } = {},
): Promise<T> {
  const context = Context.current();
  const signal = context.cancellationSignal;
  const previous = (context.info.heartbeatDetails as Heartbeat | undefined) ?? null;
  // A resume token must outlive an attempt that died before it reported anything.
  let latest: Heartbeat = { bytesDone: 0, bytesTotal: 0, entriesDone: 0, ...previous, phase };
  let lastBeat = 0;
  const beat = () => {
    lastBeat = performance.now();
    context.heartbeat(latest);
  };
  const timer = setInterval(beat, everyMs);
  let isOver = false;
  beat();
  try {
    return await body({
      signal,
      previous,
      attempt: context.info.attempt,
      report(progress) {
        if (isOver) return;
        const tokenIsNew = progress.resume !== undefined && progress.resume !== latest.resume;
        latest = { ...latest, ...progress };
        if (tokenIsNew || performance.now() - lastBeat >= beatAtMostEveryMs) beat();
      },
    });
  } catch (error) {
    throw asTemporalFailure(error, signal);
  } finally {
    isOver = true;
    clearInterval(timer);
  }
}
