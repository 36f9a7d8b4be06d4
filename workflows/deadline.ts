import { ApplicationFailure, CancellationScope, isCancellation } from '@temporalio/workflow';
import { formatDuration } from '../policies/progress.ts';

/**
 * Gives the body so much time. When it is over the body is cancelled, and only once it has come to rest is
 * StepTimedOut thrown: unlike after a timeout of Temporal's, nothing of it is still under way that could undo what
 * the caller does next.
 */
export async function within<T>(timeoutMs: number, what: string, body: () => Promise<T>): Promise<T> {
  const outer = CancellationScope.current();
  try {
    return await CancellationScope.withTimeout(timeoutMs, body);
  } catch (error) {
    if (!isCancellation(error) || outer.consideredCancelled) throw error;
    throw ApplicationFailure.nonRetryable(
      `${what} was not done within its ${formatDuration(timeoutMs)}.`,
      'StepTimedOut',
      { next: 'See what slowed it down, or give it more time in the policy.' },
    );
  }
}
