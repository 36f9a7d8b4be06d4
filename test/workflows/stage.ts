import { setTimeout } from 'node:timers/promises';
import {
  Client,
  Connection,
  WorkflowFailedError,
  type WorkflowHandle,
  type WorkflowHandleWithFirstExecutionRunId,
} from '@temporalio/client';
import {
  DefaultLogger,
  type LogEntry,
  makeTelemetryFilterString,
  NativeConnection,
  Runtime,
  Worker,
} from '@temporalio/worker';
import { queues } from '../../policies/queues.ts';
import { searchAttributes } from '../../policies/search-attributes.ts';
import type { RunningTemporal } from '../../scripts/stack/types.ts';
import { bundledWorkflows } from '../../workers/workflow-bundle.ts';
import type { BackupStatus } from '../../workflows/contracts.ts';
import { createTimeSkipping } from '../support/time-skipping.ts';
import { StandIns } from './stand-ins.ts';

const workflowsPath = new URL('./workflows.ts', import.meta.url).pathname;

type Part = Pick<Stage, 'client' | 'standIns' | 'logged' | 'now'>;

/** Our workflows on a Temporal of the test's own, and stand-ins for all activities. One per test file. */
export class Stage {
  readonly client: Client;
  readonly standIns: StandIns;
  /** What workflows have logged. */
  readonly logged: LogEntry[];
  /** The server's clock, in milliseconds since 1970. */
  readonly now: () => Promise<number>;
  private readonly workers: Workers;
  private readonly closers: (() => Promise<unknown>)[];
  private started = 0;

  private constructor(part: Part, workers: Workers, closers: Stage['closers']) {
    this.client = part.client;
    this.standIns = part.standIns;
    this.logged = part.logged;
    this.now = part.now;
    this.workers = workers;
    this.closers = closers;
  }

  /** On a server whose time jumps ahead while somebody waits for a result. */
  static async open(): Promise<Stage> {
    const logged = quietLog();
    const env = await createTimeSkipping();
    // This server cannot tell what it knows, so the worker's own way of making sure does not work here.
    const { operatorService } = env.connection as Connection;
    const types = Object.entries(searchAttributes).map(([name, type]) => [name, type === 'KEYWORD' ? 2 : 7]);
    await operatorService.addSearchAttributes({ namespace: 'default', searchAttributes: Object.fromEntries(types) });
    const standIns = new StandIns();
    const workers = await runWorkers(standIns, env.nativeConnection);
    const now = () => env.currentTimeMs();
    return new Stage({ client: env.client, standIns, logged, now }, workers, [() => env.teardown()]);
  }

  /** On a real server, with a worker on every queue but one. */
  static async on(
    { address }: Pick<RunningTemporal, 'address'>,
    { without }: { without?: string } = {},
  ): Promise<Stage> {
    const logged = quietLog();
    const native = await NativeConnection.connect({ address });
    const connection = await Connection.connect({ address });
    const standIns = new StandIns();
    const workers = await runWorkers(standIns, native, without);
    const part = { client: new Client({ connection }), standIns, logged, now: async () => Date.now() };
    return new Stage(part, workers, [() => connection.close(), () => native.close()]);
  }

  /** Ends the worker of one queue as a restart does, and starts another in its place. */
  restart(taskQueue: string): Promise<void> {
    return this.workers.restart(taskQueue);
  }

  async close(): Promise<void> {
    await this.workers.stop();
    for (const close of this.closers.splice(0)) await close();
  }

  /** Starts a workflow by its name, as the command line does. */
  start(type: string, input: unknown): Promise<WorkflowHandleWithFirstExecutionRunId> {
    this.started += 1;
    return this.client.workflow.start(type, {
      workflowId: `${type}/${this.started}`,
      taskQueue: queues.coordination,
      args: input === undefined ? [] : [input],
    });
  }

  /** How many events each run has of a workflow that goes on in new runs. */
  async eventsByRun(handle: WorkflowHandleWithFirstExecutionRunId): Promise<number[]> {
    const counts: number[] = [];
    for (let runId: string | null = handle.firstExecutionRunId; runId !== null; ) {
      const { events } = await this.client.workflow.getHandle(handle.workflowId, runId).fetchHistory();
      counts.push(events?.length ?? 0);
      runId = events?.at(-1)?.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId ?? null;
    }
    return counts;
  }
}

/** What fails here is made to fail; tests look at it, people need not. Once per process, before any worker. */
function quietLog(): LogEntry[] {
  const logged: LogEntry[] = [];
  Runtime.install({
    logger: new DefaultLogger('INFO', (entry) => void (entry.meta?.workflowId && logged.push(entry))),
    telemetryOptions: { logging: { filter: makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' }) } },
  });
  return logged;
}

interface Workers {
  restart(taskQueue: string): Promise<void>;
  stop(): Promise<void>;
}

/** One worker per queue. */
async function runWorkers(standIns: StandIns, connection: NativeConnection, without?: string): Promise<Workers> {
  const queued = standIns.workers().filter(({ taskQueue }) => taskQueue !== without);
  const running = new Map<string, () => Promise<void>>();
  const start = async ({ taskQueue, activities }: (typeof queued)[number]) => {
    const worker = await Worker.create({
      connection,
      taskQueue,
      activities,
      maxHeartbeatThrottleInterval: 100,
      ...(taskQueue === queues.coordination ? await bundledWorkflows(workflowsPath) : {}),
    });
    const done = worker.run();
    running.set(taskQueue, () => {
      worker.shutdown();
      return done;
    });
  };
  await Promise.all(queued.map(start));
  return {
    async restart(taskQueue) {
      await running.get(taskQueue)?.();
      await Promise.all(queued.filter((q) => q.taskQueue === taskQueue).map(start));
    },
    async stop() {
      await Promise.all([...running.values()].map((end) => end()));
    },
  };
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

/** The innermost of ours among what a workflow failed of. */
export async function reasonOf(handle: WorkflowHandle): Promise<Failed> {
  const last = (await causes(handle)).findLast((c) => c.type !== undefined);
  if (!last) throw new Error('The job failed of nothing of ours.');
  return last;
}

/** Waits until the backup has come so far. */
export async function until(handle: WorkflowHandle, wanted: (status: BackupStatus) => boolean): Promise<void> {
  while (!wanted(await handle.query<BackupStatus>('status'))) await setTimeout(20);
}

/** The search attributes under which a workflow is listed. */
export async function labelsOf(handle: WorkflowHandle): Promise<Record<string, unknown>> {
  const { typedSearchAttributes } = await handle.describe();
  return Object.fromEntries(typedSearchAttributes.getAll().map(({ key, value }) => [key.name, value]));
}
