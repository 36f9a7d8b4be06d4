import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Context } from '@temporalio/activity';
import type { WorkflowHandle } from '@temporalio/client';
import { CancelledFailure } from '@temporalio/common';
import type { StreamWalOutcome } from '../../activities/wal-host.ts';
import { queues } from '../../policies/queues.ts';
import { startTemporal } from '../../scripts/stack/temporal.ts';
import type { RunningTemporal } from '../../scripts/stack/types.ts';
import type { WalArchiveStatus } from '../../workflows/contracts.ts';
import { eventually } from '../support/eventually.ts';
import { causes, Stage, until } from '../workflows/stage.ts';
import { callingRun, plan, type StandIns, untilCancelled } from '../workflows/stand-ins.ts';

/** What the time-skipping server cannot show, or shows otherwise than a real one. */

/** A step that neither ends nor hears of anything, until all tests are over. */
const deaf = Promise.withResolvers<never>();

let temporal: RunningTemporal;
let stage: Stage;
let steps: StandIns;

beforeAll(async () => {
  temporal = await startTemporal({});
  stage = await Stage.on(temporal);
  steps = stage.standIns;
});
afterAll(async () => {
  deaf.reject(new Error('the test is over'));
  await stage?.close();
  await temporal?.stop();
});
beforeEach(() => steps.clear());

const backUp = () => stage.start('backup', { source: 'shop' });

/** How a job ended that was cancelled at some moment; it must have kept what it promises either way. */
async function endOf(handle: WorkflowHandle): Promise<'succeeded' | 'cancelled'> {
  const outcome = await handle.result().then(
    () => 'succeeded' as const,
    (error: { cause?: unknown }) => {
      expect(error.cause).toBeInstanceOf(CancelledFailure);
      return 'cancelled' as const;
    },
  );
  expect(steps.attempts('releaseSlot')).toBe(1);
  expect(steps.attempts('discardStaging')).toBe(
    steps.done.includes('sealPoint') ? 1 : steps.attempts('discardStaging'),
  );
  expect(steps.attempts('concludeJob')).toBe(1);
  expect(steps.end().outcome).toBe(outcome);
  // A copy was either published, or withdrawn, or never begun; and published copies are known to the catalog.
  const published = steps.done.filter((d) => d.startsWith('publishCopy')).length;
  if (published > 0) expect(steps.attempts('recordPoint')).toBe(1);
  return outcome;
}

describe('a backup that is cancelled', () => {
  test('at whatever moment gives its slot back, leaves nothing half-done, and says how it ended', async () => {
    const outcomes = new Set<string>();
    for (let afterMs = 0; afterMs < 600; afterMs += 40) {
      steps.clear();
      const handle = await backUp();
      await until(handle, () => steps.done.includes('requestSlot'));
      await setTimeout(afterMs);
      await handle.cancel().catch((error: Error) => expect(error.name).toBe('WorkflowNotFoundError'));
      outcomes.add(await endOf(handle));
    }
    expect(outcomes).toContain('cancelled');
  });

  test('at the very moment of its grant gives the slot back, whichever comes first', async () => {
    for (const [grantAfterMs, cancelAfterMs] of [
      [0, 0],
      [0, 2],
      [2, 0],
      [0, 5],
      [5, 0],
      [0, 10],
    ] as const) {
      steps.clear();
      let runId = '';
      steps.on('requestSlot', () => {
        ({ runId } = callingRun());
        return { runId };
      });
      const handle = await backUp();
      await until(handle, (s) => s.phase === 'slot' && runId !== '');
      await Promise.all([
        setTimeout(grantAfterMs).then(() => handle.signal('slotGranted', { runId })),
        setTimeout(cancelAfterMs).then(() => handle.cancel()),
      ]);
      expect(await endOf(handle)).toBe('cancelled');
    }
  });
});

describe('a worker', () => {
  test('that is restarted in the middle of a step hands it over: the next attempt follows at once, and is the last', async () => {
    let attempt = 0;
    const begun = new Promise<void>((resolve) => {
      const hang = untilCancelled(resolve);
      steps.on('sealPoint', () => {
        attempt = Context.current().info.attempt;
        return attempt === 1
          ? hang()
          : { level: 'full' as const, sourceBytes: 1, storedBytes: 1, entries: 1, warnings: [] };
      });
    });
    const handle = await backUp();
    await begun;
    await stage.restart(queues.backup('local'));
    expect(await handle.result()).toMatchObject({ outcome: 'succeeded' });
    expect(attempt).toBe(2);
    expect(steps.attempts('discardStaging')).toBe(1);
  });

  test('that is missing, lost or too slow is named with the step, and with what to do', async () => {
    const failed = async (options: object, step = 'sealPoint') => {
      const chain = await causes(
        await stage.start('oneStep', { step, options: { retry: { maximumAttempts: 1 }, ...options } }),
      );
      return chain.find((c) => c.type !== undefined);
    };
    steps.on('sealPoint', () => deaf.promise);
    const taskQueue = queues.backup('local');
    const missing = { type: 'WorkerMissing', details: [{ next: expect.stringContaining('backupctl doctor') }] };
    const away = { taskQueue: queues.backup('away'), startToCloseTimeout: '1m' };
    const ends = await Promise.all([
      failed({ ...away, scheduleToStartTimeout: '1s' }),
      failed({ ...away, scheduleToCloseTimeout: '1s' }),
      failed({ taskQueue, startToCloseTimeout: '1m', heartbeatTimeout: '1s' }),
      failed({ taskQueue, startToCloseTimeout: '1s' }),
    ]);
    const noWorker = 'No worker was there in time for the step sealPoint.';
    expect(ends).toEqual([
      expect.objectContaining({ ...missing, message: noWorker }),
      expect.objectContaining({ ...missing, message: noWorker }),
      expect.objectContaining({ ...missing, message: expect.stringContaining('sealPoint was lost') }),
      expect.objectContaining({ type: 'StepTimedOut', message: expect.stringContaining('sealPoint took longer') }),
    ]);
  });
});

test('a test restore that even Temporal had to end counts as timed out, and is not tried again', async () => {
  // Temporal's own limit is five minutes above the policy's, for tidying up; here it is one second.
  steps.on('planBackup', () => ({ ...plan, validationTimeoutMs: 1_000 - 5 * 60_000 }));
  steps.on('testRestore', () => deaf.promise);
  const chain = await causes(await backUp());
  expect(chain[0]).toMatchObject({
    type: 'ValidationTimedOut',
    message: expect.stringContaining('nor when it was told'),
  });
  expect(steps.attempts('testRestore')).toBe(1);
  expect(steps.end()).toMatchObject({ outcome: 'failed', leftovers: { staging: false } });
});

test('a backup that is reset in its middle goes on from there, with the slot it has', async () => {
  const hang = untilCancelled(() => {});
  steps.on('sealPoint', hang);
  const handle = await backUp();
  await until(handle, (s) => s.phase === 'seal');
  await until(handle, () => steps.done.includes('sealPoint'));
  const { events } = await handle.fetchHistory();
  const last = events?.findLast((e) => e.workflowTaskCompletedEventAttributes)?.eventId ?? null;
  steps.on('sealPoint', () => ({ level: 'full' as const, sourceBytes: 1, storedBytes: 1, entries: 1, warnings: [] }));
  const { runId } = await stage.client.workflowService.resetWorkflowExecution({
    namespace: stage.client.options.namespace,
    workflowExecution: { workflowId: handle.workflowId },
    workflowTaskFinishEventId: last,
    requestId: randomUUID(),
    reason: 'a test',
  });
  const again = stage.client.workflow.getHandle(handle.workflowId, runId);
  expect(await again.result()).toMatchObject({ outcome: 'succeeded' });
  expect(steps.attempts('requestSlot')).toBe(1);
  expect(steps.attempts('releaseSlot')).toBe(1);
});

describe('a restore that nobody started', () => {
  const asked = { source: 'shop', into: { directory: '/restored' }, operator: 'Ada', reason: 'the disk burnt' };
  const refused = { type: 'NotHumanTriggered', message: expect.stringContaining('started by a schedule') };

  test('but a schedule is refused', async () => {
    const schedule = await stage.client.schedule.create({
      scheduleId: 'restore-by-itself',
      spec: {},
      action: {
        type: 'startWorkflow',
        workflowType: 'restore',
        taskQueue: queues.coordination,
        args: [asked],
        workflowId: 'by-schedule',
      },
    });
    await schedule.trigger();
    const started = async () => (await schedule.describe()).info.recentActions[0]?.action;
    let action = await started();
    for (; !action; action = await started()) await setTimeout(50);
    const { workflowId, firstExecutionRunId } = action.workflow;
    expect((await causes(stage.client.workflow.getHandle(workflowId, firstExecutionRunId)))[0]).toMatchObject(refused);
    await schedule.delete();
    expect(steps.done).toEqual([]);
  });

  test('but a cron expression is refused', async () => {
    const workflowId = 'by-cron';
    const { firstExecutionRunId } = await stage.client.workflow.start('restore', {
      workflowId,
      taskQueue: queues.coordination,
      args: [asked],
      cronSchedule: '@every 1s',
    });
    // The next one follows at once, so that nobody is ever told of a failure.
    const first = stage.client.workflow.getHandle(workflowId, firstExecutionRunId);
    const ended = async () =>
      (await first.fetchHistory()).events?.at(-1)?.workflowExecutionFailedEventAttributes?.failure;
    let failure = await ended();
    for (; !failure; failure = await ended()) await setTimeout(50);
    await stage.client.workflow.getHandle(workflowId).terminate('it would come round for ever');
    expect(failure).toMatchObject({
      message: refused.message,
      applicationFailureInfo: { type: refused.type },
    });
    expect(steps.done).toEqual([]);
  });
});

// The time-skipping server cancels an activity that it has never told the start of, which the SDK takes for a broken history.
test('archiving of WAL goes on in a new run within its budget, with what it knows', async () => {
  const rounds: StreamWalOutcome['state'][] = ['well', ...Array<'behind'>(30).fill('behind')];
  const forEver = untilCancelled(() => {});
  steps.on('streamWal', () => {
    const state = rounds.shift();
    return state === undefined ? forEver() : { state, keptBytes: 20_000_000_000 };
  });
  const handle = await stage.start('walArchive', { source: 'shop', patienceMs: 0, historyBudget: 60 });
  try {
    const first = handle.firstExecutionRunId;
    await eventually(async () => expect((await handle.describe()).runId).not.toBe(first));
    await eventually(async () => expect((await handle.query<WalArchiveStatus>('status')).streaming).toBe('behind'));
    const { events } = await stage.client.workflow.getHandle(handle.workflowId, first).fetchHistory();
    expect(events?.length).toBeLessThan(120);
  } finally {
    await stage.client.workflow.getHandle(handle.workflowId).terminate('the test is over');
  }
});
