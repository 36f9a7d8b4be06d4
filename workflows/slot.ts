import { CancellationScope, condition, defineSignal, proxyActivities, setHandler, workflowInfo } from '@temporalio/workflow';
import type { SlotActivities } from '../activities/slot.ts';
import { queues } from '../policies/queues.ts';
import type { QueuePosition, SlotGrant, SlotRequest } from './contracts.ts';
import { patient } from './options.ts';

const slotGrantedSignal = defineSignal<[SlotGrant]>('slotGranted');
const queuePositionSignal = defineSignal<[QueuePosition]>('queuePosition');

export interface SlotListener {
  /** Place in the queue, 1 is next. */
  onQueued(position: number): void;
  onGranted(): void;
}

/**
 * Runs the body while holding one of the fleet's backup slots. Waits for its turn as long as it takes, and gives the
 * slot, or the place in the queue, back in every case. The coordinator is started when it is not there.
 */
export async function withSlot<T>(
  request: Omit<SlotRequest, 'workflowId' | 'runId'>,
  listener: SlotListener,
  body: () => Promise<T>,
): Promise<T> {
  const { workflowId, runId } = workflowInfo();
  const { requestSlot, releaseSlot } = proxyActivities<SlotActivities>({ ...patient, taskQueue: queues.coordination });
  let granted = false;
  setHandler(slotGrantedSignal, (grant) => {
    if (grant.runId === runId) granted = true;
  });
  setHandler(queuePositionSignal, ({ position }) => listener.onQueued(position));
  try {
    await requestSlot({ ...request, workflowId, runId });
    await condition(() => granted);
    listener.onGranted();
    return await body();
  } finally {
    await CancellationScope.nonCancellable(() => releaseSlot({ workflowId, runId }));
  }
}
