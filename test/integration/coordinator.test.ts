import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { WorkflowFailedError, WorkflowUpdateFailedError } from '@temporalio/client';
import { startTemporal } from '../../scripts/stack/temporal.ts';
import type { RunningTemporal } from '../../scripts/stack/types.ts';
import type { CoordinatorStatus } from '../../workflows/contracts.ts';
import { Fleet } from './coordinator-fleet.ts';

let temporal: RunningTemporal;
let fleet: Fleet;

beforeAll(async () => {
  Fleet.hush();
  temporal = await startTemporal({});
  fleet = await Fleet.connect(temporal.address);
  await fleet.startWorker();
});
afterAll(async () => {
  await fleet?.close();
  await temporal?.stop();
});
afterEach(() => fleet.clear());

const sources = (jobs: { source: string }[]) => jobs.map((j) => j.source).sort();
const byNow = { operator: 'Ada', reason: 'moving the disks' };

describe('the coordinator', () => {
  test('lets three of eight jobs run at once, the critical ones first, then by priority and arrival', async () => {
    await fleet.startCoordinator();
    await fleet.coordinator.executeUpdate('pause', { args: [byNow] });
    const jobs = await fleet.queueUp([
      { source: 'a' },
      { source: 'b', priority: 90 },
      { source: 'c' },
      { source: 'vital', critical: true, priority: 10 },
      { source: 'd' },
      { source: 'e', priority: 10 },
      { source: 'crucial', critical: true },
      { source: 'f' },
    ]);
    await fleet.coordinator.executeUpdate('resume', { args: [byNow] });

    const order: string[] = [];
    const seen = new Set<string>();
    while (order.length < 8) {
      const status = await fleet.until((s) => s.holders.length === Math.min(3, 8 - order.length));
      for (const h of status.holders.filter((h) => !seen.has(h.source))) seen.add(h.source);
      const first = status.holders[0];
      if (!first) throw new Error('nobody holds a slot');
      order.push(first.source);
      await jobs.get(first.source)?.signal('finish');
      await jobs.get(first.source)?.result();
      await fleet.until((s) => !s.holders.some((h) => h.source === first.source));
    }
    expect([...seen]).toEqual(['crucial', 'vital', 'b', 'a', 'c', 'd', 'f', 'e']);
    expect((await fleet.status()).granted).toBe(8);
  });

  test('spends few events on a job', async () => {
    const inputs = Array.from({ length: 8 }, (_, i) => ({ source: `few-${i}` }));
    const jobs = await fleet.queueUp(inputs);
    for (const { source } of inputs) {
      await fleet.until((s) => s.holders.some((h) => h.source === source));
      await jobs.get(source)?.signal('finish');
    }
    await Promise.all([...jobs.values()].map((j) => j.result()));
    await fleet.until((s) => s.holders.length === 0);
    expect((await fleet.historyLength(fleet.coordinator)) / inputs.length).toBeLessThan(45);
    for (const job of jobs.values()) expect(await fleet.historyLength(job)).toBeLessThan(60);
  });

  test('tells a waiting job its place, and each place it moves up to', async () => {
    const jobs = await fleet.queueUp(['a', 'b', 'c', 'd', 'last'].map((source) => ({ source })));
    await jobs.get('a')?.signal('finish');
    await fleet.until((s) => s.queue.length === 1);
    await jobs.get('b')?.signal('finish');
    await fleet.until((s) => s.queue.length === 0);
    await jobs.get('last')?.signal('finish');
    expect(await jobs.get('last')?.result()).toEqual([2, 1]);
  });

  test('takes the slot back from a job that was terminated, and from one that failed without a word', async () => {
    const jobs = await fleet.queueUp([{ source: 'a' }, { source: 'b' }]);
    const rude = await fleet.start({ source: 'rude' }, 'rudeJob');
    await expect(rude.result()).rejects.toThrow(WorkflowFailedError);
    await fleet.queueUp([{ source: 'waiting-1' }]);
    await fleet.until((s) => s.holders.some((h) => h.source === 'waiting-1'));
    await fleet.queueUp([{ source: 'waiting-2' }]);
    await jobs.get('b')?.terminate('kill -9 of a job');
    const status = await fleet.until((s) => s.holders.some((h) => h.source === 'waiting-2'));
    expect(sources(status.holders)).toEqual(['a', 'waiting-1', 'waiting-2']);
    expect(status.leasesFreed).toBe(2);
  });

  test('forgets a waiting job that was cancelled or terminated', async () => {
    const jobs = await fleet.queueUp(['a', 'b', 'c', 'cancelled', 'terminated'].map((source) => ({ source })));
    await jobs.get('cancelled')?.cancel();
    await jobs.get('terminated')?.terminate('a test');
    const status = await fleet.until((s) => s.queue.length === 0);
    expect(sources(status.holders)).toEqual(['a', 'b', 'c']);
    expect(status).toMatchObject({ leasesFreed: 0, granted: 3 });
  });

  test('notices a job that went while no worker was there', async () => {
    const jobs = await fleet.queueUp([{ source: 'a' }, { source: 'b' }, { source: 'c' }, { source: 'waiting' }]);
    await fleet.stopWorker();
    await jobs.get('a')?.terminate('a test');
    await fleet.startWorker();
    const status = await fleet.until((s) => s.holders.some((h) => h.source === 'waiting'));
    expect(sources(status.holders)).toEqual(['b', 'c', 'waiting']);
  });

  test('grants nothing while it is paused, and says who paused it and why', async () => {
    await fleet.startCoordinator();
    const paused = await fleet.coordinator.executeUpdate<CoordinatorStatus, [typeof byNow]>('pause', { args: [byNow] });
    expect(paused).toMatchObject({ mode: 'paused', modeSetBy: byNow });
    await fleet.queueUp([{ source: 'a' }]);
    expect(await fleet.status()).toMatchObject({ holders: [], queue: [{ source: 'a' }] });
    await fleet.coordinator.executeUpdate('resume', { args: [{ operator: 'Ada', reason: 'disks moved' }] });
    await fleet.until((s) => s.holders.length === 1);
  });

  test('drains: running jobs finish, then it is drained', async () => {
    const jobs = await fleet.queueUp([{ source: 'a' }]);
    await fleet.until((s) => s.holders.length === 1);
    await fleet.coordinator.executeUpdate('drain', { args: [byNow] });
    await fleet.queueUp([{ source: 'b' }]);
    expect((await fleet.status()).mode).toBe('draining');
    await jobs.get('a')?.signal('finish');
    const drained = await fleet.until((s) => s.mode === 'drained');
    expect(drained).toMatchObject({ holders: [], queue: [{ source: 'b' }] });
    await fleet.coordinator.executeUpdate('resume', { args: [byNow] });
    await fleet.until((s) => s.holders.length === 1);
  });

  test.each([
    ['an empty operator', { operator: ' ', reason: 'x' }, /operator must be given/],
    ['no reason', { operator: 'Ada' }, /reason must be given/],
    ['nothing at all', undefined, /operator and reason must be given/],
  ])('refuses an update with %s, which leaves no trace', async (_, argument, said) => {
    await fleet.startCoordinator();
    await fleet.status();
    const before = await fleet.historyLength(fleet.coordinator);
    const update = fleet.coordinator.executeUpdate('drain', { args: [argument] });
    await expect(update).rejects.toThrow(WorkflowUpdateFailedError);
    await expect(update).rejects.toMatchObject({
      cause: { message: expect.stringMatching(said), type: 'UsageInvalid' },
    });
    expect((await fleet.status()).mode).toBe('running');
    expect(await fleet.historyLength(fleet.coordinator)).toBe(before);
  });

  test('goes on in a new run when its history is long, with holders, queue, mode and counts kept', async () => {
    await fleet.startCoordinator(40);
    const first = await fleet.coordinator.describe();
    await fleet.coordinator.executeUpdate('pause', { args: [byNow] });
    await fleet.coordinator.executeUpdate('resume', { args: [byNow] });
    const jobs = await fleet.queueUp(Array.from({ length: 9 }, (_, i) => ({ source: `job-${i}` })));
    const status = await fleet.until((s) => s.holders.length === 3);
    expect(sources([...status.holders, ...status.queue])).toEqual([...jobs.keys()].sort());
    for (const job of jobs.values()) {
      await job.signal('finish');
      await job.result();
    }
    const last = await fleet.until((s) => s.holders.length === 0);
    expect(last).toMatchObject({ granted: 9, leasesFreed: 0, slots: 3, mode: 'running', modeSetBy: byNow });
    const { runId, historyLength } = await fleet.coordinator.describe();
    expect(runId).not.toBe(first.runId);
    expect(historyLength).toBeLessThan(100);
  });

  test('knows in a new run what is under strain, and what people said of it', async () => {
    await fleet.startCoordinator(20);
    const first = (await fleet.coordinator.describe()).runId;
    const strain = { cause: 'wal/shop', why: 'the WAL of shop waits', leaseMs: 600_000 };
    await fleet.coordinator.executeUpdate('restrict', { args: [byNow] });
    const isSame = async () => (await fleet.coordinator.describe()).runId === first;
    for (let more = 0; await isSame(); more++) {
      await fleet.coordinator.signal('strain', { ...strain, leaseMs: strain.leaseMs + more });
    }
    const kept = await fleet.until((s) => s.strains.length === 2);
    expect(kept.strains).toMatchObject([{ cause: 'person' }, { cause: 'wal/shop', why: strain.why, lifted: null }]);
    await fleet.queueUp([{ source: 'a' }, { source: 'vital', critical: true }]);
    expect(sources((await fleet.until((s) => s.holders.length === 1)).holders)).toEqual(['vital']);
    await fleet.coordinator.executeUpdate('lift', { args: [byNow] });
    await fleet.until((s) => s.holders.length === 2);
  });

  test('leaves the slot with a job that was reset while it held one, and takes it back at its end', async () => {
    const jobs = await fleet.queueUp([{ source: 'a' }, { source: 'b' }, { source: 'c' }, { source: 'waiting' }]);
    await fleet.until((s) => s.holders.length === 3);
    const old = jobs.get('a');
    if (!old) throw new Error('a was started');
    const before = await old.describe();
    const job = await fleet.reset(old, -1);
    const status = await fleet.until((s) =>
      s.holders.some((h) => h.workflowId === old.workflowId && h.runId !== before.runId),
    );
    expect(sources(status.holders)).toEqual(['a', 'b', 'c']);
    expect(status).toMatchObject({ leasesFreed: 0, queue: [{ source: 'waiting' }] });
    await job.signal('finish');
    await job.result();
    await fleet.until((s) => s.holders.some((h) => h.source === 'waiting'));
  });

  test('grants anew to a job that was reset to before it had asked, which takes the old grant for none of its own', async () => {
    const jobs = await fleet.queueUp([{ source: 'a' }, { source: 'b' }, { source: 'c' }]);
    await fleet.until((s) => s.holders.length === 3);
    const old = jobs.get('a');
    if (!old) throw new Error('a was started');
    // Had the watch seen the reset first, the slot would have stayed with the job.
    fleet.isWatchBlind = true;
    // Whoever comes meanwhile is first: the reset job has lost its turn.
    await fleet.coordinator.executeUpdate('pause', { args: [byNow] });
    await fleet.queueUp([{ source: 'first' }]);
    const job = await fleet.reset(old, 1);
    const paused = await fleet.until((s) => s.queue.length === 2);
    expect(sources(paused.holders)).toEqual(['b', 'c']);
    await fleet.coordinator.executeUpdate('resume', { args: [byNow] });
    const status = await fleet.until((s) => s.holders.length === 3);
    expect(sources(status.holders)).toEqual(['b', 'c', 'first']);
    await jobs.get('b')?.signal('finish');
    await fleet.until((s) => s.holders.some((h) => h.source === 'a'));
    await job.signal('finish');
    expect(await job.result()).toEqual([2, 1]);
  });

  test('leaves the slot with a job that was reset to before it had asked, when the watch sees that first', async () => {
    const jobs = await fleet.queueUp([{ source: 'a' }, { source: 'b' }, { source: 'c' }, { source: 'waiting' }]);
    const old = jobs.get('a');
    if (!old) throw new Error('a was started');
    fleet.areRequestsHeld = true;
    const job = await fleet.reset(old, 1);
    const { runId } = await job.describe();
    await fleet.until((s) => s.holders.some((h) => h.runId === runId));
    fleet.areRequestsHeld = false;
    await job.signal('finish');
    expect(await job.result()).toEqual([]);
    const status = await fleet.until((s) => s.holders.some((h) => h.source === 'waiting'));
    expect(sources(status.holders)).toEqual(['b', 'c', 'waiting']);
    expect(status).toMatchObject({ leasesFreed: 0, granted: 4, queue: [] });
  });

  test('learns after its predecessor was terminated who holds a slot, and has those ask who wait for one', async () => {
    await fleet.queueUp(['a', 'b', 'c', 'd', 'e'].map((source) => ({ source })));
    await fleet.until((s) => s.holders.length === 3 && s.queue.length === 2);
    await fleet.listed({ running: 3, waiting: 2 });
    await fleet.coordinator.terminate('a mistake');
    await fleet.start({ source: 'late' });
    const status = await fleet.until((s) => s.queue.length === 3);
    expect(sources(status.holders)).toEqual(['a', 'b', 'c']);
    expect(sources(status.queue)).toEqual(['d', 'e', 'late']);
    expect(status.granted).toBe(0);
  });

  test('ignores signals that make no sense, and goes by a new number of slots', async () => {
    await fleet.startCoordinator();
    for (const rubbish of [undefined, 'x', {}, { workflowId: 1, runId: null }]) {
      await fleet.coordinator.signal('requestSlot', rubbish);
      await fleet.coordinator.signal('releaseSlot', rubbish);
      await fleet.coordinator.signal('configure', rubbish);
    }
    await fleet.coordinator.signal('configure', { slots: 1, leaseTimeoutMs: 6_000 });
    await fleet.queueUp([{ source: 'a' }, { source: 'b' }]);
    expect(await fleet.status()).toMatchObject({ slots: 1, holders: [{ source: 'a' }], queue: [{ source: 'b' }] });
    await fleet.coordinator.signal('configure', { slots: 2, leaseTimeoutMs: 6_000 });
    await fleet.until((s) => s.holders.length === 2);
  });

  test('drops a request of a workflow that does not exist', async () => {
    await fleet.startCoordinator();
    const request = {
      workflowId: 'nobody',
      runId: '00000000-0000-4000-8000-000000000000',
      source: 'x',
      critical: true,
      priority: 1,
    };
    await fleet.coordinator.signal('requestSlot', request);
    await fleet.until((s) => s.granted === 1 && s.holders.length === 0);
    await fleet.queueUp([{ source: 'a' }]);
    await fleet.until((s) => s.holders.length === 1);
  });
});
