import {
  ActivityCancellationType,
  CancellationScope,
  condition,
  defineSignal,
  log,
  proxyActivities,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { SlotActivities } from '../activities/slot.ts';
import { queues } from '../policies/queues.ts';
import type { QueuePosition, SlotGrant, SlotRequest } from './contracts.ts';
import { messageOf } from './failure.ts';
import { patient } from './options.ts';

const slotGrantedSignal = defineSignal<[SlotGrant]>('slotGranted');
const queuePositionSignal = defineSignal<[QueuePosition]>('queuePosition');

export interface SlotListener {
  /** Place in the queue, 1 is next. */
  onQueued(position: number): void;
  onGranted(): void;
}

/** A job that waits asks again after this time, then after twice as long … */
const firstReminderMs = 10 * 60_000;
/** … up to this: a coordinator that was terminated has forgotten its queue, and few events are spent on that. */
const lastReminderMs = 6 * 3_600_000;

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
  const { requestSlot, releaseSlot } = proxyActivities<SlotActivities>({
    ...patient,
    taskQueue: queues.coordination,
    // A request under way when the job is cancelled must have ended before the release is sent.
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  });
  let granted = false;
  setHandler(slotGrantedSignal, (grant) => {
    // A workflow that was reset sees the signals of its former run again.
    if (grant?.runId === runId) granted = true;
  });
  setHandler(queuePositionSignal, (place) => {
    if (!granted && typeof place?.position === 'number') listener.onQueued(place.position);
  });
  try {
    for (let waitMs = firstReminderMs; !granted; waitMs = Math.min(waitMs * 2, lastReminderMs)) {
      await requestSlot({ ...request, workflowId, runId });
      await condition(() => granted, waitMs);
    }
    listener.onGranted();
    return await body();
  } finally {
    await CancellationScope.nonCancellable(async () => {
      try {
        await releaseSlot({ workflowId, runId });
      } catch (error) {
        // The job's own outcome counts; the coordinator's watch takes the slot back once the job has ended.
        log.warn('the slot could not be given back', { error: messageOf(error) });
      }
    });
  }
}
