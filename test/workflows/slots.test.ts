import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import { createSlotActivities } from '../../activities/slot.ts';
import { queues } from '../../policies/queues.ts';
import { type CoordinatorStatus, coordinatorWorkflowId } from '../../workflows/contracts.ts';
import { policyOf } from '../policies/policies.ts';
import { eventually } from '../support/eventually.ts';
import { stage, steps } from './open-stage.ts';
import { causes, labelsOf, until } from './stage.ts';
import { callingRun, failure, grantSlot, plan, untilCancelled } from './stand-ins.ts';

const minutes = 60_000;

describe('a job that waits for a slot', () => {
  test('asks again after ten minutes, then after twice as long, at most every six hours', async () => {
    const asked: number[] = [];
    steps.on('requestSlot', async (request) => {
      asked.push(await stage.now());
      // The coordinator was terminated meanwhile and has forgotten the first nine requests.
      if (asked.length === 10) return grantSlot(request);
      return callingRun();
    });
    await (await stage.start('backup', { source: 'shop' })).result();
    const waits = asked.slice(1).map((at, i) => Math.round((at - (asked[i] ?? 0)) / minutes));
    expect(waits).toEqual([10, 20, 40, 80, 160, 320, 360, 360, 360]);
    expect(steps.attempts('sealPoint')).toBe(1);
  });

  test('shows its place, and takes no notice of grants for others nor of what makes no sense', async () => {
    const asked = new Promise<{ runId: string }>((resolve) => {
      steps.on('requestSlot', () => {
        resolve(callingRun());
        return callingRun();
      });
    });
    const handle = await stage.start('backup', { source: 'shop' });
    const { runId } = await asked;
    await until(handle, (s) => s.phase === 'slot');
    for (const rubbish of [undefined, null, 'x', {}, { runId: 7 }, { runId: 'of another run' }]) {
      await handle.signal('slotGranted', rubbish);
      await handle.signal('queuePosition', rubbish);
    }
    await handle.signal('queuePosition', { position: 4 });
    await until(handle, (s) => s.queuePosition === 4);
    expect(await labelsOf(handle)).toMatchObject({ BackupStatus: 'waiting' });
    expect(steps.done).toEqual(['planBackup', 'requestSlot']);
    await handle.signal('slotGranted', { runId });
    expect(await handle.result()).toMatchObject({ outcome: 'succeeded' });
  });

  test('ends when its slot cannot even be asked for, and still gives back what it may have got', async () => {
    steps.on('requestSlot', () => {
      throw failure('UsageInvalid', 'the coordinator refuses', false);
    });
    const handle = await stage.start('backup', { source: 'shop' });
    expect((await causes(handle)).at(-1)?.message).toBe('the coordinator refuses');
    expect(steps.attempts('releaseSlot')).toBe(1);
  });
});

describe('backups with the real coordinator', () => {
  const by = { operator: 'Ada', reason: 'moving the disks' };
  let jobs: Map<string, WorkflowHandle>;
  let holding: Map<string, () => void>;

  const coordinator = () => stage.client.workflow.getHandle(coordinatorWorkflowId);
  const status = () => coordinator().query<CoordinatorStatus>('status');
  async function settles(wanted: (s: CoordinatorStatus) => boolean): Promise<CoordinatorStatus> {
    for (;;) {
      const now = await status();
      if (wanted(now)) return now;
      await setTimeout(20);
    }
  }
  const startCoordinator = (slots = 3) =>
    stage.client.workflow.start('coordinator', {
      workflowId: coordinatorWorkflowId,
      taskQueue: queues.coordination,
      args: [{ slots, leaseTimeoutMs: 60_000 }],
    });
  const strain = (cause: string, why: string | null, leaseMs = 3_600_000) =>
    coordinator().signal('strain', { cause, why, leaseMs });
  const jobOf = (source: string): WorkflowHandle => {
    const job = jobs.get(source);
    if (!job) throw new Error(`no job of ${source}`);
    return job;
  };
  /** What people were told last of strain. */
  const noted = () => steps.inputs.filter((i) => i.step === 'noteStrain').at(-1)?.input;
  async function queueUp(...sources: string[]): Promise<void> {
    for (const source of sources) {
      jobs.set(source, await stage.start('backup', { source }));
      await settles((s) => [...s.holders, ...s.queue].some((j) => j.source === source));
    }
  }
  async function finish(source: string): Promise<void> {
    while (!holding.has(source)) await setTimeout(20);
    holding.get(source)?.();
    await jobs.get(source)?.result();
  }

  beforeEach(() => {
    jobs = new Map();
    holding = new Map();
    const real = createSlotActivities({ client: stage.client, policy: policyOf() });
    steps.on('requestSlot', real.requestSlot);
    steps.on('releaseSlot', real.releaseSlot);
    steps.on('planBackup', ({ source }) => ({
      ...plan,
      source,
      pointId: `${source}-1`,
      critical: source.startsWith('vital'),
      priority: source.startsWith('late') ? 10 : 50,
    }));
    // A job holds its slot until the test lets it finish.
    steps.on('sealPoint', async ({ source }) => {
      await new Promise<void>((resolve) => holding.set(source, resolve));
      return { level: 'full' as const, sourceBytes: 1, storedBytes: 1, entries: 1, warnings: [] };
    });
  });
  afterEach(() => coordinator().terminate('the test is over'));

  test('seal three at a time, the critical first, then by priority and arrival', async () => {
    await startCoordinator();
    await coordinator().executeUpdate('pause', { args: [by] });
    await queueUp('a', 'late', 'b', 'vital', 'c');
    await coordinator().executeUpdate('resume', { args: [by] });
    const first = await settles((s) => s.holders.length === 3);
    expect(first.holders.map((h) => h.source)).toEqual(['vital', 'a', 'b']);
    await finish('a');
    await settles((s) => s.holders.some((h) => h.source === 'c'));
    await finish('vital');
    await settles((s) => s.holders.some((h) => h.source === 'late'));
    expect(steps.attempts('sealPoint')).toBe(5);
    for (const source of ['b', 'c', 'late']) await finish(source);
    expect(await settles((s) => s.holders.length === 0)).toMatchObject({ granted: 5, queue: [] });
  });

  test('whose hours are over leave their slot to others, and wait for their turn when they begin again', async () => {
    const iso = (ms: number) => new Date(ms).toISOString();
    let isNight = true;
    steps.on('planBackup', async ({ source }) => ({
      ...{ ...plan, source, pointId: `${source}-1` },
      ...(source === 'night' ? { closesAt: iso((await stage.now()) + 2_000) } : {}),
    }));
    steps.on('lookAtHours', ({ at }) => ({ isOpen: isNight, until: iso(Date.parse(at) + 1_000) }));
    const pause = untilCancelled(() => {
      isNight = false;
    });
    steps.on('uploadCopy west', ({ again = false, plan: { source } }) =>
      source === 'night' && !again ? pause() : undefined,
    );
    await startCoordinator(1);
    await queueUp('night');
    while (!holding.has('night')) await setTimeout(20);
    await queueUp('day');
    holding.get('night')?.();
    expect((await settles((s) => s.holders[0]?.source === 'day')).queue).toEqual([]);
    isNight = true;
    await settles((s) => s.queue[0]?.source === 'night');
    expect(steps.attempts('uploadCopy west')).toBe(1);
    await finish('day');
    expect(await jobs.get('night')?.result()).toMatchObject({ outcome: 'succeeded' });
    expect((await settles((s) => s.holders.length === 0)).queue).toEqual([]);
  });

  test('wait while something is under strain unless they are critical, and are told why; until the last of it is over', async () => {
    await startCoordinator();
    for (const rubbish of [undefined, 'x', {}, { cause: 'x', why: 'y' }, { cause: 'x', why: 'y', leaseMs: 0 }]) {
      await coordinator().signal('strain', rubbish);
    }
    await strain('wal/shop', 'the WAL of shop waits');
    await strain('wal/docs', 'the WAL of docs waits');
    await queueUp('a', 'vital');
    expect((await settles((s) => s.holders.length === 1)).holders).toMatchObject([{ source: 'vital' }]);
    await until(jobOf('a'), (s) => s.queueReason === 'the WAL of shop waits; the WAL of docs waits');
    await eventually(() => expect(noted()).toEqual({ why: 'the WAL of shop waits; the WAL of docs waits' }));
    await strain('wal/shop', null);
    await until(jobOf('a'), (s) => s.queueReason === 'the WAL of docs waits');
    expect(await status()).toMatchObject({ queue: [{ source: 'a' }], strains: [{ cause: 'wal/docs' }] });
    await strain('wal/docs', null);
    await settles((s) => s.holders.length === 2);
    await eventually(() => expect(noted()).toEqual({ why: null }));
    for (const source of ['a', 'vital']) await finish(source);
  });

  test('get slots again when nobody renews the strain: whoever saw it may have died', async () => {
    await startCoordinator();
    await strain('wal/shop', 'the WAL of shop waits', 1_000);
    await queueUp('a');
    await settles((s) => s.holders.length === 1 && s.strains.length === 0);
    await eventually(() => expect(noted()).not.toEqual({ why: 'the WAL of shop waits' }));
    await finish('a');
  });

  test('go by what a person restricts and lifts, with name and reason', async () => {
    await startCoordinator();
    await expect(coordinator().executeUpdate('lift', { args: [by] })).rejects.toMatchObject({
      cause: { type: 'UsageInvalid', message: expect.stringContaining('nothing to lift') },
    });
    await expect(coordinator().executeUpdate('restrict', { args: [{ operator: 'Ada' }] })).rejects.toMatchObject({
      cause: { type: 'UsageInvalid', message: expect.stringContaining('reason must be given') },
    });
    await coordinator().executeUpdate('restrict', { args: [by] });
    await strain('wal/shop', 'the WAL of shop waits');
    await queueUp('a', 'b', 'vital');
    await finish('vital');
    const kept = await status();
    expect(kept.strains.map((s) => s.cause)).toEqual(['person', 'wal/shop']);
    expect(kept.queue.map((w) => w.source)).toEqual(['a', 'b']);
    const lifted = await coordinator().executeUpdate<CoordinatorStatus, [typeof by]>('lift', { args: [by] });
    expect(lifted.strains).toMatchObject([{ cause: 'wal/shop', lifted: by }]);
    await settles((s) => s.holders.length === 2);
    for (const source of ['a', 'b']) await finish(source);
  });

  test('that wait leave the queue when they are cancelled; the others keep their order', async () => {
    await queueUp('a', 'b', 'c', 'd', 'e', 'f');
    await jobs.get('e')?.cancel();
    await settles((s) => s.queue.length === 2);
    expect((await status()).queue.map((w) => w.source)).toEqual(['d', 'f']);
    for (const source of ['a', 'b', 'c', 'd', 'f']) await finish(source);
  });

  test('start the coordinator when there is none; it refuses settings that make no sense', async () => {
    await queueUp('a');
    expect(await status()).toMatchObject({ slots: 3, holders: [{ source: 'a' }] });
    await finish('a');
    await coordinator().terminate('another one is to be started');
    const handle = await stage.client.workflow.start('coordinator', {
      workflowId: coordinatorWorkflowId,
      taskQueue: queues.coordination,
      args: [],
    });
    expect((await causes(handle))[0]).toMatchObject({ type: 'UsageInvalid' });
    await startCoordinator();
  });
});
