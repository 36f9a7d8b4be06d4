import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { durationSeconds } from '../policies/duration.ts';
import type { Policy } from '../policies/policy.ts';
import { queues } from '../policies/queues.ts';
import {
  type CoordinatorInput,
  type CoordinatorSettings,
  coordinatorWorkflowId,
  type SlotRelease,
  type SlotRequest,
} from '../workflows/contracts.ts';
import { callingJob } from './calling-job.ts';
import { runActivity } from './failure.ts';

export interface FoundJob extends SlotRelease {
  source: string;
}

export type SlotActivities = ReturnType<typeof createSlotActivities>;

/** Makes sure that the coordinator is there and goes by this policy; for the coordination worker when it starts. */
export async function ensureCoordinator(client: Client, policy: Policy): Promise<void> {
  await signalCoordinator(client, policy, 'configure', settingsOf(policy));
}

/** Talks to the coordinator for jobs: by signal-with-start, so that it is there whenever one is needed. */
export function createSlotActivities({ client, policy }: { client: Client; policy: Policy }) {
  return {
    /** Asks in the name of the run that calls, and tells which that is. */
    requestSlot: (request: Omit<SlotRequest, keyof SlotRelease>): Promise<{ runId: string }> =>
      runActivity('request slot', async () => {
        const job = callingJob();
        await signalCoordinator(client, policy, 'requestSlot', { ...request, ...job });
        return { runId: job.runId };
      }),

    /**
     * The backups that hold a slot or wait for one, as Temporal lists them: for a coordinator that begins without its
     * predecessor's memory, because that one was terminated.
     */
    findJobs: (): Promise<{ holders: FoundJob[]; waiting: FoundJob[] }> =>
      runActivity('find jobs', async () => {
        const found = { holders: [] as FoundJob[], waiting: [] as FoundJob[] };
        const query = `WorkflowType = 'backup' AND ExecutionStatus = 'Running' AND BackupStatus IN ('running', 'waiting')`;
        for await (const { workflowId, runId, typedSearchAttributes } of client.workflow.list({ query })) {
          const labels = new Map(typedSearchAttributes.getAll().map(({ key, value }) => [key.name, String(value)]));
          const job = { workflowId, runId, source: labels.get('BackupSource') ?? '' };
          (labels.get('BackupStatus') === 'running' ? found.holders : found.waiting).push(job);
        }
        return found;
      }),

    /** Gives back what the run that calls holds, or its place in the queue. */
    releaseSlot: (): Promise<void> =>
      runActivity('release slot', async () => {
        try {
          await client.workflow.getHandle(coordinatorWorkflowId).signal('releaseSlot', callingJob());
        } catch (error) {
          // Without a coordinator there is no slot to give back.
          if (!(error instanceof WorkflowNotFoundError)) throw error;
        }
      }),
  };
}

function settingsOf({ limits }: Policy): CoordinatorSettings {
  return { slots: limits.backupSlots, leaseTimeoutMs: durationSeconds(limits.leaseTimeout) * 1000 };
}

/** Signal-with-start: whoever needs the coordinator first starts it. */
export async function signalCoordinator(
  client: Client,
  policy: Policy,
  signal: string,
  argument: object,
): Promise<void> {
  const input: CoordinatorInput = settingsOf(policy);
  await client.workflow.signalWithStart('coordinator', {
    workflowId: coordinatorWorkflowId,
    taskQueue: queues.coordination,
    args: [input],
    signal,
    signalArgs: [argument],
    staticSummary: 'Grants backup slots to the fleet',
  });
}
