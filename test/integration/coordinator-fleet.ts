import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { DefaultLogger, makeTelemetryFilterString, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { createSlotActivities } from '../../activities/slot.ts';
import { createWatchHolders } from '../../activities/watch-holders.ts';
import { queues } from '../../policies/queues.ts';
import { openRun } from '../../workers/executions.ts';
import { bundledWorkflows } from '../../workers/workflow-bundle.ts';
import { type CoordinatorStatus, coordinatorWorkflowId } from '../../workflows/contracts.ts';
import { policyOf } from '../policies/policies.ts';
import type { JobInput } from './coordinator-workflows.ts';

const workflowsPath = new URL('./coordinator-workflows.ts', import.meta.url).pathname;

/** A coordination worker, and jobs that want slots. */
export class Fleet {
  readonly client: Client;
  private readonly native: NativeConnection;
  private worker: { stop(): Promise<void> } | null = null;
  private jobs: WorkflowHandle[] = [];
  private round = 0;
  /** The watch over jobs takes each of them to be running still. */
  isWatchBlind = false;
  /** No job's request reaches the coordinator. */
  areRequestsHeld = false;

  private constructor(client: Client, native: NativeConnection) {
    this.client = client;
    this.native = native;
  }

  /** Keeps the log of what is provoked on purpose out of the way; once per process, before any worker. */
  static hush(): void {
    Runtime.install({
      logger: new DefaultLogger('ERROR', ({ level, message, meta }) => {
        if (!message.startsWith('a signal that makes no sense'))
          process.stderr.write(`${level} ${message} ${JSON.stringify(meta)}\n`);
      }),
      telemetryOptions: { logging: { filter: makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' }) } },
    });
  }

  static async connect(address: string): Promise<Fleet> {
    const client = new Client({ connection: await Connection.connect({ address }) });
    return new Fleet(client, await NativeConnection.connect({ address }));
  }

  async startWorker(): Promise<void> {
    const policy = policyOf({ limits: { backupSlots: 3, leaseTimeout: '6s' } });
    const slots = createSlotActivities({ client: this.client, policy });
    const lookUp = openRun(this.client);
    const worker = await Worker.create({
      connection: this.native,
      taskQueue: queues.coordination,
      ...(await bundledWorkflows(workflowsPath)),
      activities: {
        ...slots,
        requestSlot: async (wish: Parameters<typeof slots.requestSlot>[0]) => {
          while (this.areRequestsHeld) await setTimeout(50);
          return slots.requestSlot(wish);
        },
        ...createWatchHolders({
          openRun: async (workflowId, runId) => (this.isWatchBlind ? runId : lookUp(workflowId, runId)),
        }),
        noteStrain: async () => {},
      },
      shutdownGraceTime: 0,
    });
    const done = worker.run();
    this.worker = {
      async stop() {
        worker.shutdown();
        await done;
      },
    };
  }

  async stopWorker(): Promise<void> {
    await this.worker?.stop();
    this.worker = null;
  }

  async close(): Promise<void> {
    await this.stopWorker();
    await this.native.close();
    await this.client.connection.close();
  }

  /** Starts the coordinator by hand; without this the first job does. */
  async startCoordinator(historyBudget?: number): Promise<void> {
    await this.client.workflow.start('coordinator', {
      workflowId: coordinatorWorkflowId,
      taskQueue: queues.coordination,
      args: [{ slots: 3, leaseTimeoutMs: 6_000, historyBudget }],
    });
    // It looks for jobs of an earlier coordinator, which takes two workflow tasks and an activity.
    while ((await this.historyLength(this.coordinator)) < 10) await setTimeout(50);
  }

  get coordinator(): WorkflowHandle {
    return this.client.workflow.getHandle(coordinatorWorkflowId);
  }

  async status(): Promise<CoordinatorStatus> {
    const { status } = await this.coordinator.describe();
    // One that was terminated still answers queries.
    if (status.name !== 'RUNNING') throw new Error(`The coordinator is ${status.name}`);
    return this.coordinator.query<CoordinatorStatus>('status');
  }

  async start(input: JobInput, type: 'backup' | 'rudeJob' = 'backup'): Promise<WorkflowHandle> {
    const handle = await this.client.workflow.start(type, {
      workflowId: `backup/${input.source}/${this.round}`,
      taskQueue: queues.coordination,
      args: [input],
    });
    this.jobs.push(handle);
    return handle;
  }

  /** Starts jobs one after the other, each once the one before has been seen by the coordinator. */
  async queueUp(inputs: JobInput[]): Promise<Map<string, WorkflowHandle>> {
    const handles = new Map<string, WorkflowHandle>();
    for (const input of inputs) {
      handles.set(input.source, await this.start(input));
      await this.until((s) => [...s.holders, ...s.queue].some((j) => j.source === input.source));
    }
    return handles;
  }

  /** Waits until the coordinator's status is as wanted; throws with the last one when it never is. */
  async until(wanted: (status: CoordinatorStatus) => boolean): Promise<CoordinatorStatus> {
    const deadline = Date.now() + 60_000;
    for (;;) {
      // The first job's request starts the coordinator; before that there is nobody to ask.
      const status = await this.status().catch(() => null);
      if (status && wanted(status)) return status;
      if (Date.now() > deadline)
        throw new Error(`The coordinator never came to be as wanted: ${JSON.stringify(status)}`);
      await setTimeout(50);
    }
  }

  /** Waits until Temporal's list of open jobs has so many of each state: it lags behind a little. */
  async listed(wanted: Record<string, number>): Promise<void> {
    for (const [state, count] of Object.entries(wanted)) {
      const query = `WorkflowType = 'backup' AND ExecutionStatus = 'Running' AND BackupStatus = '${state}'`;
      while ((await this.client.workflow.count(query)).count !== count) await setTimeout(50);
    }
  }

  async historyLength(handle: WorkflowHandle): Promise<number> {
    return (await handle.describe()).historyLength;
  }

  /** Resets a job to the end of a workflow task, counted from 1; the new run goes on from there. */
  async reset(handle: WorkflowHandle, task: number): Promise<WorkflowHandle> {
    const { events } = await handle.fetchHistory();
    const ends = (events ?? []).filter((e) => e.workflowTaskCompletedEventAttributes);
    const { runId } = await this.client.workflowService.resetWorkflowExecution({
      namespace: this.client.options.namespace,
      workflowExecution: { workflowId: handle.workflowId },
      workflowTaskFinishEventId: ends.at(task - 1)?.eventId ?? null,
      requestId: randomUUID(),
      reason: 'a test',
    });
    return this.client.workflow.getHandle(handle.workflowId, runId);
  }

  /** Ends what a test has left, so that the next one begins with no coordinator. */
  async clear(): Promise<void> {
    const open = await Promise.all(
      this.jobs.map(async (j) => ((await j.describe()).status.name === 'RUNNING' ? [j] : [])),
    );
    await Promise.all(open.flat().map((j) => j.terminate('the test is over')));
    await this.coordinator.terminate('the test is over');
    this.jobs = [];
    this.isWatchBlind = false;
    this.areRequestsHeld = false;
    this.round += 1;
  }
}
