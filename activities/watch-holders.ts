import { setTimeout } from 'node:timers/promises';
import { runActivity } from './failure.ts';

export interface WatchInput {
  jobs: { workflowId: string; runId: string }[];
  leaseTimeoutMs: number;
}

export type WatchActivities = ReturnType<typeof createWatchHolders>;

/** Looks this often within a lease, so that a job that is gone is noticed well before the lease is over. */
const looksPerLease = 6;

/** Watches jobs for the coordinator; while it waits, nothing is written to any history. */
export function createWatchHolders({ isRunning }: { isRunning(workflowId: string, runId: string): Promise<boolean> }) {
  return {
    /** Resolves as soon as some of the jobs are no longer running, with those. */
    watchHolders: ({ jobs, leaseTimeoutMs }: WatchInput): Promise<WatchInput['jobs']> =>
      runActivity('watch', async ({ signal }) => {
        for (;;) {
          // Looks first: while jobs come and go quickly, the watch is restarted before it has waited once.
          const gone: WatchInput['jobs'] = [];
          for (const job of jobs) {
            if (!(await isRunning(job.workflowId, job.runId))) gone.push(job);
            signal.throwIfAborted();
          }
          if (gone.length > 0) return gone;
          await setTimeout(leaseTimeoutMs / looksPerLease, undefined, { signal });
        }
      }),
  };
}
