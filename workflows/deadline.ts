import { ApplicationFailure, CancellationScope, isCancellation, sleep } from '@temporalio/workflow';
import { formatDuration } from '../policies/progress.ts';

/**
 * Gives the body so much time. When it is over the body is cancelled, and only once it has come to rest is
 * StepTimedOut thrown: unlike after a timeout of Temporal's, nothing of it is still under way that could undo what
 * the caller does next.
 *
 * @param elapse resolves when so many milliseconds have gone by, of those that count
 */
export async function within<T>(
  timeoutMs: number,
  what: string,
  body: () => Promise<T>,
  elapse: (ms: number) => Promise<void> = sleep,
): Promise<T> {
  const outer = CancellationScope.current();
  const scope = new CancellationScope();
  try {
    return await scope.run(async () => {
      const clock = new CancellationScope();
      clock
        .run(() => elapse(timeoutMs))
        .then(
          () => scope.cancel(),
          // The body has ended, or is being cancelled.
          () => {},
        );
      try {
        return await body();
      } finally {
        clock.cancel();
      }
    });
  } catch (error) {
    if (!isCancellation(error) || outer.consideredCancelled) throw error;
    throw ApplicationFailure.nonRetryable(
      `${what} was not done within its ${formatDuration(timeoutMs)}.`,
      'StepTimedOut',
      { next: 'See what slowed it down, or give it more time in the policy.' },
    );
  }
}
