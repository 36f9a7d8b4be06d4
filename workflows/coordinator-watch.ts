import { ActivityCancellationType, CancellationScope, log, proxyActivities, sleep } from '@temporalio/workflow';
import type { Gone, WatchActivities, WatchInput } from '../activities/watch-holders.ts';
import { queues } from '../policies/queues.ts';

type WatchedJob = WatchInput['jobs'][number];

/** A worker that died must be noticed, and another must have looked, within the lease. */
const heartbeatTimeoutMs = 15_000;
/** After a watch that failed for good, e.g. because a worker of another version does not know it. */
const restartAfterMs = 10_000;

/**
 * Watches jobs by an activity that costs no history while it waits. It is restarted when a job is not among those it
 * watches; one that has left stays with it until it ends, for a job released is a job about to end.
 *
 * @param onGone called with the jobs that are no longer running, some of which may have left already
 */
export function createWatch(onGone: (gone: Gone[]) => void) {
  let current: { scope: CancellationScope; keys: Set<string> } | null = null;

  function follow(jobs: WatchedJob[], leaseTimeoutMs: number): void {
    if (jobs.length === 0) {
      stop();
      return;
    }
    if (current && jobs.every((j) => current?.keys.has(keyOf(j)))) return;
    stop();
    const mine = { scope: new CancellationScope(), keys: new Set(jobs.map(keyOf)) };
    current = mine;
    mine.scope
      .run(() => watchUntilGone(jobs, leaseTimeoutMs))
      .then(
        (gone) => {
          if (current === mine) current = null;
          onGone(gone);
        },
        (error: unknown) => {
          // Either stop() has cancelled it, or the coordinator itself is being cancelled.
          log.debug('the watch has ended', { error: String(error) });
        },
      );
  }

  function stop(): void {
    current?.scope.cancel();
    current = null;
  }

  return { follow, stop };
}

async function watchUntilGone(jobs: WatchedJob[], leaseTimeoutMs: number): Promise<Gone[]> {
  const { watchHolders } = proxyActivities<WatchActivities>({
    taskQueue: queues.coordination,
    // Attempts leave nothing in the history, so there may be any number of them.
    startToCloseTimeout: '1 day',
    heartbeatTimeout: heartbeatTimeoutMs,
    cancellationType: ActivityCancellationType.TRY_CANCEL,
    retry: { initialInterval: '1s', maximumInterval: '5s' },
  });
  const scope = CancellationScope.current();
  for (;;) {
    try {
      return await watchHolders({
        jobs: jobs.map(({ workflowId, runId }) => ({ workflowId, runId })),
        leaseTimeoutMs,
      });
    } catch (error) {
      if (scope.consideredCancelled) throw error;
      log.error('the watch over jobs has failed; it is started again', { error: String(error) });
      await sleep(restartAfterMs);
    }
  }
}

function keyOf({ workflowId, runId }: WatchedJob): string {
  return `${runId} ${workflowId}`;
}
