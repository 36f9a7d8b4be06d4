import { setTimeout } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import type { Stage } from './stage.ts';
import { failure, untilCancelled } from './stand-ins.ts';

/** A run whose history is kept. */
export interface Played {
  workflowId: string;
  runId: string;
}

/** A step that does not end by itself. */
export const hanging = untilCancelled(() => {});
/** A step that fails for good. */
export const refuse = (type: Parameters<typeof failure>[0]) => (): never => {
  throw failure(type, `this is the failure ${type}`, false);
};

/** Waits until it has ended, somehow. */
export async function ended(started: Promise<WorkflowHandle>): Promise<Played> {
  const handle = await started;
  await settled(handle);
  const { workflowId, runId } = await handle.describe();
  return { workflowId, runId };
}

export async function settled(handle: WorkflowHandle): Promise<void> {
  await handle.result().catch(() => {});
}

/** Cancels it once it has taken these steps, one of which is under way; one that is named twice it has taken twice. */
export async function cancelled(stage: Stage, handle: WorkflowHandle, ...steps: string[]): Promise<Played> {
  const count = (of: string) => steps.filter((step) => step === of).length;
  while (steps.some((step) => stage.standIns.attempts(step) < count(step))) await setTimeout(20);
  await handle.cancel();
  return ended(Promise.resolve(handle));
}
