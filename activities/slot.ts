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
import { runActivity } from './failure.ts';

export type SlotActivities = ReturnType<typeof createSlotActivities>;

/** Makes sure that the coordinator is there and goes by this policy; for the coordination worker when it starts. */
export async function ensureCoordinator(client: Client, policy: Policy): Promise<void> {
  await signalCoordinator(client, policy, 'configure', settingsOf(policy));
}

/** Talks to the coordinator for jobs: by signal-with-start, so that it is there whenever one is needed. */
export function createSlotActivities({ client, policy }: { client: Client; policy: Policy }) {
  return {
    requestSlot: (request: SlotRequest): Promise<void> =>
      runActivity('request slot', async () => {
        await signalCoordinator(client, policy, 'requestSlot', request);
      }),

    releaseSlot: (job: SlotRelease): Promise<void> =>
      runActivity('release slot', async () => {
        try {
          await client.workflow.getHandle(coordinatorWorkflowId).signal('releaseSlot', job);
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
async function signalCoordinator(client: Client, policy: Policy, signal: string, argument: object): Promise<void> {
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
