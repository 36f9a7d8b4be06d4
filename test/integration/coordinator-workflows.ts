import {
  ApplicationFailure,
  condition,
  defineQuery,
  defineSignal,
  proxyActivities,
  setHandler,
} from '@temporalio/workflow';
import type { SlotActivities } from '../../activities/slot.ts';
import { createLabels } from '../../workflows/labels.ts';
import { slotHolder } from '../../workflows/slot.ts';

export { coordinator } from '../../workflows/coordinator.ts';

export interface JobInput {
  source: string;
  critical?: boolean;
  priority?: number;
}

/** Holds a slot until it is told to finish. */
export async function backup({ source, critical = false, priority = 50 }: JobInput): Promise<number[]> {
  const places: number[] = [];
  let isFinished = false;
  setHandler(defineSignal('finish'), () => {
    isFinished = true;
  });
  setHandler(defineQuery<number[]>('places'), () => places);
  const label = createLabels();
  label({ source, status: 'waiting' });
  const listener = {
    onAsking: () => label({ source, status: 'waiting' }),
    onQueued: (place: number) => void places.push(place),
    onGranted: () => label({ source, status: 'running' }),
  };
  await slotHolder(listener)({ source, critical, priority }, () => condition(() => isFinished));
  return places;
}

/** Takes a slot and fails without giving it back. */
export async function rudeJob({ source }: JobInput): Promise<void> {
  const { requestSlot } = proxyActivities<SlotActivities>({ startToCloseTimeout: '10s' });
  let isGranted = false;
  setHandler(defineSignal('slotGranted'), () => {
    isGranted = true;
  });
  await requestSlot({ source, critical: false, priority: 50 });
  await condition(() => isGranted);
  throw ApplicationFailure.nonRetryable('gone without a word');
}
