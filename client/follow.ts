import { setTimeout } from 'node:timers/promises';
import type { Client, WorkflowHandle } from '@temporalio/client';
import { Failure } from '../policies/failure.ts';
import { queues } from '../policies/queues.ts';
import type { Context } from './context.ts';
import { type Bar, createProgressView } from './progress.ts';
import { pollers, type Started } from './temporal.ts';

export interface FollowOptions {
  started: Started;
  /** The line to show now. */
  line(handle: WorkflowHandle): Promise<string>;
}

const askEveryMs = 1_000;
/** What was asked last is waited for so long at the end. */
const lastAnswerMs = 5_000;

/**
 * Shows how a workflow gets on until it has ended, and returns its result. Throws what it failed with. Ctrl-C stops
 * looking, not the job: Interrupted says how to go on looking.
 */
export async function follow<T>(context: Context, { started, line }: FollowOptions): Promise<T> {
  const client = await context.temporal();
  const handle = client.workflow.getHandle(started.workflowId, started.runId);
  const view = createProgressView(context.out);
  const stop = new AbortController();
  const interrupted = interruption(context, stop.signal);
  const result = handle.result() as Promise<T>;
  const over = result.then(
    () => true,
    () => true,
  );
  let asked: [Promise<string>, Promise<Bar[]>] | [] = [];
  try {
    for (let isOver = false; !isOver; ) {
      asked = [line(handle).catch(() => 'waiting for a worker'), underWay(handle)];
      const [text, bars] = await Promise.race([
        Promise.all(asked),
        over.then((): [string, Bar[]] => ['', []]),
        interrupted,
      ]);
      if (text !== '') view.show(text, bars);
      isOver = await Promise.race([over, setTimeout(askEveryMs, false), interrupted]);
    }
    return await result;
  } finally {
    view.end();
    stop.abort();
    // The SDK tries some calls again, and throws at nobody when their connection was closed meanwhile.
    await Promise.race([Promise.allSettled(asked), setTimeout(lastAnswerMs, undefined, { ref: false })]);
  }
}

/** Rejects with Interrupted at Ctrl-C. */
function interruption(context: Context, stop: AbortSignal): Promise<never> {
  const interrupted = new Promise<never>((_resolve, reject) => {
    const onSignal = () =>
      reject(
        new Failure('Interrupted', 'Stopped looking; the job goes on.', {
          next: 'See "backupctl status" for how it gets on, and the Temporal Web UI to cancel it.',
        }),
      );
    process.once('SIGINT', onSignal);
    context.signal?.addEventListener('abort', onSignal, { once: true });
    stop.addEventListener('abort', () => {
      process.off('SIGINT', onSignal);
      context.signal?.removeEventListener('abort', onSignal);
    });
  });
  // It is raced from time to time; in between nobody may be listening.
  interrupted.catch(() => {});
  return interrupted;
}

/** What the workflow's activities reported last. */
async function underWay(handle: WorkflowHandle): Promise<Bar[]> {
  const { raw } = await handle.describe();
  return (raw.pendingActivities ?? []).flatMap((activity): Bar[] => {
    const data = activity.heartbeatDetails?.payloads?.[0]?.data;
    const bar = data ? barOf(Buffer.from(data).toString()) : null;
    return bar ? [bar] : [];
  });
}

/** Heartbeat details are JSON: `{ phase, bytesDone, bytesTotal, entriesDone }`. Null for anything else. */
export function barOf(json: string): Bar | null {
  try {
    const { phase, bytesDone, bytesTotal, entriesDone } = JSON.parse(json) as Record<string, unknown>;
    if (typeof phase !== 'string' || typeof bytesDone !== 'number') return null;
    return { name: phase, bytesDone, bytesTotal: Number(bytesTotal ?? 0), entriesDone: Number(entriesDone ?? 0) };
  } catch {
    return null;
  }
}

/** Says when a job that was just started has nobody to run it. */
export async function noteMissingWorkers(context: Context, client: Client, activityQueues: string[]): Promise<void> {
  const missing: string[] = [];
  if ((await pollers(client, queues.coordination, 'workflow')) === 0) missing.push(queues.coordination);
  for (const queue of activityQueues) if ((await pollers(client, queue, 'activity')) === 0) missing.push(queue);
  if (missing.length === 0) return;
  context.out.note(`! No worker polls ${missing.join(', ')}: the job waits until one does (see "backupctl doctor").`);
}
