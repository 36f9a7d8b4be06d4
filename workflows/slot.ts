import {
  ActivityCancellationType,
  CancellationScope,
  condition,
  defineSignal,
  log,
  proxyActivities,
  setHandler,
} from '@temporalio/workflow';
import type { SlotActivities } from '../activities/slot.ts';
import { queues } from '../policies/queues.ts';
import type { QueuePosition, SlotGrant, SlotRequest } from './contracts.ts';
import { messageOf } from './failure.ts';
import { patient } from './options.ts';

const slotGrantedSignal = defineSignal<[SlotGrant]>('slotGranted');
const askAgainSignal = defineSignal('askAgain');
const queuePositionSignal = defineSignal<[QueuePosition]>('queuePosition');

export interface SlotListener {
  /** It asks for a slot once more. */
  onAsking(): void;
  /** Place in the queue, 1 is next; and why it gets no slot for now even when one is free. */
  onQueued(position: number, why: string | null): void;
  onGranted(): void;
}

type SlotWish = Omit<SlotRequest, 'workflowId' | 'runId' | 'turn'>;

/** A job that waits asks again after this time, then after twice as long … */
const firstReminderMs = 10 * 60_000;
/** … up to this: should a request ever be forgotten, it is not for long, and few events are spent on that. */
const lastReminderMs = 6 * 3_600_000;

/** One of the fleet's backup slots, while it is held. */
export interface Slot {
  /** Gives it back while the body runs, and waits for its turn again; unless the body says that none is wanted any more. */
  lend(body: () => Promise<boolean>): Promise<void>;
}

/**
 * Lets a job hold slots, one after the other: it runs a body while holding one. Waits for its turn as long as it takes,
 * and gives the slot, or the place in the queue, back in every case. The coordinator is started when it is not there.
 *
 * A workflow that is reset goes on as another run, and may see the grant of its former run again. The run that asks is
 * known from the activity that asked, which stands in the history: `workflowInfo().runId` would be another one when the
 * history is replayed in the new run, and a job would wait where its history says that it went on. For the same reason
 * every turn has its number: a grant may come once more when the slot was given back.
 */
export function slotHolder(
  listener: SlotListener,
): <T>(request: SlotWish, body: (slot: Slot) => Promise<T>) => Promise<T> {
  const { requestSlot, releaseSlot } = proxyActivities<SlotActivities>({
    ...patient,
    taskQueue: queues.coordination,
    // A request under way when the job is cancelled must have ended before the release is sent.
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  });
  const grants = new Set<string>();
  let askedAs = '';
  let turn = 0;
  const keyOf = (grant: SlotGrant) => `${grant.turn ?? 0} ${grant.runId}`;
  const isGranted = () => grants.has(keyOf({ runId: askedAs, turn }));
  setHandler(slotGrantedSignal, (grant) => {
    if (typeof grant?.runId === 'string') grants.add(keyOf(grant));
  });
  let isToAskAgain = false;
  setHandler(askAgainSignal, () => {
    isToAskAgain = true;
  });
  setHandler(queuePositionSignal, (place) => {
    if (!isGranted() && typeof place?.position === 'number') {
      listener.onQueued(place.position, typeof place.why === 'string' ? place.why : null);
    }
  });

  async function take(request: SlotWish): Promise<void> {
    for (let waitMs = firstReminderMs; !isGranted(); waitMs = Math.min(waitMs * 2, lastReminderMs)) {
      isToAskAgain = false;
      askedAs = (await requestSlot(turn === 0 ? request : { ...request, turn })).runId;
      await condition(() => isGranted() || isToAskAgain, waitMs);
    }
    listener.onGranted();
  }

  async function giveBack(): Promise<void> {
    await CancellationScope.nonCancellable(async () => {
      try {
        await releaseSlot();
      } catch (error) {
        // The job's own outcome counts; the coordinator's watch takes the slot back once the job has ended.
        log.warn('the slot could not be given back', { error: messageOf(error) });
      }
    });
    turn += 1;
  }

  return async (request, body) => {
    try {
      await take(request);
      return await body({
        async lend(meanwhile) {
          await giveBack();
          if (!(await meanwhile())) return;
          listener.onAsking();
          await take(request);
        },
      });
    } finally {
      await giveBack();
    }
  };
}
