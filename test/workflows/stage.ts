import { setTimeout } from 'node:timers/promises';
import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, type LogEntry, makeTelemetryFilterString, Runtime, Worker } from '@temporalio/worker';
import { queues } from '../../policies/queues.ts';
import type { BackupStatus } from '../../workflows/contracts.ts';
import { createTimeSkipping } from '../support/time-skipping.ts';
import { StandIns } from './stand-ins.ts';

const workflowsPath = new URL('../../workflows/index.ts', import.meta.url).pathname;

/** A Temporal whose time jumps, our workflows on it, and stand-ins for all activities. One per test file. */
export class Stage {
  readonly standIns: StandIns;
  readonly env: TestWorkflowEnvironment;
  /** What workflows have logged. */
  readonly logged: LogEntry[];
  private readonly end: () => Promise<void>;
  private started = 0;

  private constructor(env: TestWorkflowEnvironment, standIns: StandIns, logged: LogEntry[], end: () => Promise<void>) {
    this.env = env;
    this.standIns = standIns;
    this.logged = logged;
    this.end = end;
  }

  static async open(): Promise<Stage> {
    const logged: LogEntry[] = [];
    Runtime.install({
      // What fails here is made to fail; tests look at it, people need not.
      logger: new DefaultLogger('INFO', (entry) => void (entry.meta?.workflowId && logged.push(entry))),
      telemetryOptions: { logging: { filter: makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' }) } },
    });
    const env = await createTimeSkipping();
    const standIns = new StandIns();
    const workers = await Promise.all(
      standIns.workers().map(({ taskQueue, activities }) =>
        Worker.create({
          connection: env.nativeConnection,
          taskQueue,
          activities,
          maxHeartbeatThrottleInterval: 100,
          ...(taskQueue === queues.coordination ? { workflowsPath } : {}),
        }),
      ),
    );
    const running = workers.map((w) => w.run());
    return new Stage(env, standIns, logged, async () => {
      for (const worker of workers) worker.shutdown();
      await Promise.all(running);
      await env.teardown();
    });
  }

  close(): Promise<void> {
    return this.end();
  }

  /** Starts a workflow by its name, as the command line does. */
  start(type: string, input: unknown): Promise<WorkflowHandle> {
    this.started += 1;
    return this.env.client.workflow.start(type, {
      workflowId: `${type}/${this.started}`,
      taskQueue: queues.coordination,
      args: input === undefined ? [] : [input],
    });
  }
}

export interface Failed {
  type?: string;
  message: string;
  details?: unknown[];
}

/** What a workflow failed of, from the outermost to the innermost. */
export async function causes(handle: WorkflowHandle): Promise<Failed[]> {
  const chain: Error[] = [];
  const failure = await handle.result().then(
    () => new Error('The workflow succeeded.'),
    (error: unknown) => error,
  );
  for (let at = failure; at instanceof Error; at = at.cause) chain.push(at);
  if (!(failure instanceof WorkflowFailedError)) throw failure;
  return chain.slice(1);
}

/** Waits until the backup has come so far. */
export async function until(handle: WorkflowHandle, wanted: (status: BackupStatus) => boolean): Promise<void> {
  while (!wanted(await handle.query<BackupStatus>('status'))) await setTimeout(20);
}
