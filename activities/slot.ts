import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { durationSeconds, type Policy } from '../policies/policy.ts';
import { queues } from '../policies/queues.ts';
import { type CoordinatorInput, coordinatorWorkflowId, type SlotRelease, type SlotRequest } from '../workflows/contracts.ts';
import { runActivity } from './failure.ts';

export type SlotActivities = ReturnType<typeof createSlotActivities>;

/** Talks to the coordinator for jobs: by signal-with-start, so that it is there whenever one is needed. */
export function createSlotActivities({ client, policy }: { client: Client; policy: Policy }) {
  const input: CoordinatorInput = {
    slots: policy.limits.backupSlots,
    leaseTimeoutMs: durationSeconds(policy.limits.leaseTimeout) * 1000,
  };
  return {
    requestSlot: (request: SlotRequest): Promise<void> =>
      runActivity('request slot', async () => {
        await client.workflow.signalWithStart('coordinator', {
          workflowId: coordinatorWorkflowId,
          taskQueue: queues.coordination,
          args: [input],
          signal: 'requestSlot',
          signalArgs: [request],
          staticSummary: 'Grants backup slots to the fleet',
        });
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
