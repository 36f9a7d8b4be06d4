import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { queues } from '../../policies/queues.ts';
import { startTemporal } from '../../scripts/stack/temporal.ts';
import type { RunningTemporal } from '../../scripts/stack/types.ts';
import { deploymentName, deploymentOptions } from '../../workers/version.ts';
import { bundledWorkflows, workflowsEntry } from '../../workers/workflow-bundle.ts';
import { coordinatorWorkflowId } from '../../workflows/contracts.ts';
import { eventually } from '../support/eventually.ts';
import { Stage, until } from '../workflows/stage.ts';
import type { StandIns } from '../workflows/stand-ins.ts';

let temporal: RunningTemporal;
let native: NativeConnection;
let stage: Stage;
let steps: StandIns;
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  temporal = await startTemporal({});
  stage = await Stage.on(temporal, { without: queues.coordination });
  steps = stage.standIns;
  native = await NativeConnection.connect({ address: temporal.address });
});
afterAll(async () => {
  for (const stop of stops) await stop();
  await stage?.close();
  await native?.close();
  await temporal?.stop();
});

/** Another coordination worker, which runs the given version. */
async function startVersion(buildId: string, pinned: boolean): Promise<void> {
  const mine = steps.workers().find((w) => w.taskQueue === queues.coordination);
  const worker = await Worker.create({
    connection: native,
    ...mine,
    taskQueue: queues.coordination,
    ...(await bundledWorkflows(workflowsEntry({ pinned }))),
    workerDeploymentOptions: deploymentOptions(buildId, { pinned }),
  });
  const done = worker.run();
  stops.push(async () => {
    worker.shutdown();
    await done;
  });
}

/** What an operator does once the workers of a new version poll. */
async function makeCurrent(buildId: string): Promise<void> {
  const { workflowService, options } = stage.client;
  const set = () =>
    workflowService.setWorkerDeploymentCurrentVersion({ namespace: options.namespace, deploymentName, buildId });
  await eventually(set);
}

/** The version that did each workflow task, in order. */
async function versionsOf(handle: WorkflowHandle): Promise<string[]> {
  const { events } = await handle.fetchHistory();
  return (events ?? []).flatMap(({ workflowTaskCompletedEventAttributes: done }) =>
    done ? [done.deploymentVersion?.buildId ?? done.workerVersion?.buildId ?? ''] : [],
  );
}

test('a worker notes its version in each history; a plain start needs nothing more', async () => {
  await startVersion('1.0.0-plain', false);
  const handle = await stage.start('backup', { source: 'shop' });
  await handle.result();
  expect(new Set(await versionsOf(handle))).toEqual(new Set(['1.0.0-plain']));
  await stops.pop()?.();
});

test('pinned workers end a backup under the version that began it; the coordinator goes on under the current one', async () => {
  await startVersion('1.0.0', true);
  await makeCurrent('1.0.0');
  const finish = Promise.withResolvers<void>();
  steps.on('sealPoint', async () => {
    await finish.promise;
    return { sourceBytes: 1, storedBytes: 1, entries: 1, level: 'full', warnings: [] };
  });
  const settings = { slots: 3, leaseTimeoutMs: 60_000 };
  const coordinator = await stage.client.workflow.start('coordinator', {
    workflowId: coordinatorWorkflowId,
    taskQueue: queues.coordination,
    args: [settings],
  });
  const old = await stage.start('backup', { source: 'shop' });
  await until(old, (s) => s.phase === 'seal');

  await startVersion('2.0.0', true);
  await makeCurrent('2.0.0');
  await eventually(async () => {
    await coordinator.signal('configure', settings);
    expect((await versionsOf(coordinator)).at(-1)).toBe('2.0.0');
  });
  finish.resolve();
  expect(await old.result()).toMatchObject({ outcome: 'succeeded' });
  expect(new Set(await versionsOf(old))).toEqual(new Set(['1.0.0']));
  const young = await stage.start('backup', { source: 'shop' });
  expect(await young.result()).toMatchObject({ outcome: 'succeeded' });
  expect(new Set(await versionsOf(young))).toEqual(new Set(['2.0.0']));
});
