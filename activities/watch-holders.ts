import { setTimeout } from 'node:timers/promises';
import { runActivity } from './failure.ts';

export interface WatchInput {
  jobs: { workflowId: string; runId: string }[];
  leaseTimeoutMs: number;
}

/** A job that is no longer running under this run id. */
export interface Gone {
  workflowId: string;
  runId: string;
  /** The run that goes on in its place since it was reset; null when none does. */
  resetTo: string | null;
}

export interface WatchDependencies {
  /** The run that is open in the place of the one that is named, null when there is none. */
  openRun(workflowId: string, runId: string): Promise<string | null>;
}

export type WatchActivities = ReturnType<typeof createWatchHolders>;

/** Looks this often within a lease, so that a job that is gone is noticed well before the lease is over. */
const looksPerLease = 6;

/** Watches jobs for the coordinator; while it waits, nothing is written to any history. */
export function createWatchHolders({ openRun }: WatchDependencies) {
  return {
    /** Resolves as soon as some of the jobs are no longer running, with those. */
    watchHolders: ({ jobs, leaseTimeoutMs }: WatchInput): Promise<Gone[]> =>
      runActivity('watch', async ({ signal }) => {
        for (;;) {
          // Looks first: while jobs come and go quickly, the watch is restarted before it has waited once.
          const gone: Gone[] = [];
          for (const { workflowId, runId } of jobs) {
            const open = await openRun(workflowId, runId);
            if (open !== runId) gone.push({ workflowId, runId, resetTo: open });
            signal.throwIfAborted();
          }
          if (gone.length > 0) return gone;
          await setTimeout(leaseTimeoutMs / looksPerLease, undefined, { signal });
        }
      }),
  };
}
