import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { stringify } from 'yaml';
import { type Catalog, openCatalog } from '../../engine/catalog/index.ts';
import { bytesSource, createDirectoryStore, type Store } from '../../engine/stores/index.ts';
import { scheduledClasses } from '../../policies/calendar-policy.ts';
import type { PolicyImpact } from '../../policies/policy-impact.ts';
import { backupJsonName } from '../../policies/recovery-point.ts';
import { walRangeKey } from '../../policies/wal-bundle.ts';
import type { RetentionResult, SourceRetention } from '../../workflows/contracts.ts';
import { backupctl } from '../client/terminal.ts';
import { makePoint, type PointChoices, prefixOf, publish, trusted } from '../engine/catalog/points.ts';
import { s3Store } from '../support/s3-store.ts';
import { startWhole, type Whole } from '../support/whole.ts';

/** Expiry on real stores, by the very workers, queues and credentials of the stack. Nothing but the newest stays by itself. */

let whole: Whole;
let catalog: Catalog;
/** To lay points into, and to look at: the disk and both buckets. */
let stores: Store[];

beforeAll(async () => {
  whole = await startWhole({
    sources: ({ dataDir }) => [
      { name: 'shop', kind: 'files', path: path.join(dataDir, 'shop') },
      { name: 'cluster', kind: 'postgres-physical', connection: { host: 'nowhere', user: 'nobody' } },
    ],
    before: async ({ dataDir }) => void (await mkdir(path.join(dataDir, 'shop'))),
    adapt: (policy) => {
      policy.keys.trusted = [...trusted];
      policy.retention = { ...policy.retention, minimumAge: '1s', keepWithin: '1s', keepManual: '1s', grace: '1s' };
      policy.retention.pointInTime = '1s';
    },
  });
  const { stack, policy } = whole;
  stores = policy.copies.map((copy) => {
    if (copy.kind === 'directory') return createDirectoryStore(copy);
    return s3Store(copy.region === stack.east.region ? stack.east : stack.west, copy.bucket, { name: copy.name });
  });
  catalog = await openCatalog({ dsn: whole.secrets.get('catalog-dsn') ?? '' });
});
afterAll(async () => {
  await catalog?.close();
  for (const store of stores ?? []) await store.close();
  await whole?.stop();
});

/** Lays points into all stores, one after the other, and tells the catalog; the last is the newest by far. */
async function published(...choices: PointChoices[]): Promise<void> {
  for (const [i, choice] of choices.entries()) {
    // Their clocks tell seconds.
    if (i === choices.length - 1) await setTimeout(2_100);
    for (const store of stores) await publish(store, makePoint({ sourceBytes: 1e9, ...choice }));
  }
  await whole.backupctl('catalog', 'rebuild', '--all');
}

async function idsIn(store: Store): Promise<string[]> {
  const ids: string[] = [];
  for await (const { key } of store.list('shop/')) if (key.endsWith(backupJsonName)) ids.push(key.split('/')[1] ?? '');
  return ids;
}

async function run(): Promise<SourceRetention> {
  const person = ['--operator', 'Ada', '--reason', 'the disk is full'];
  const { sources } = await whole.backupctl<RetentionResult>('retention', 'run', '--wait', ...person);
  if (!sources[0]) throw new Error('no source was looked at');
  return sources[0];
}

/** Runs until the time of grace of something is over. */
async function runUntilRipe(): Promise<SourceRetention> {
  for (;;) {
    const found = await run();
    if (found.removed.length > 0) return found;
    await setTimeout(200);
  }
}

interface Plan {
  sources: { stopped: string | null; points: { id: string; stays: boolean; goesAt: string | null }[] }[];
}
const planned = async () => (await whole.backupctl<Plan>('retention', 'plan', 'shop')).sources[0];
const openIncidents = async () => (await catalog.incidents({ open: true })).map((i) => i.key);

describe('expiry', () => {
  test('marks first, and removes from all three copies once the grace is over, but not what a store has locked', async () => {
    await published({ id: 'shop-1' }, { id: 'shop-2' }, { id: 'shop-3' }, { id: 'shop-4' });
    const locking = stores.find((s) => s.kind === 's3');
    const soon = new Date(Date.now() + 3_600_000).toISOString();
    // The catalog does not know of it.
    await locking?.lock(`${prefixOf(makePoint({ id: 'shop-2' }))}${backupJsonName}`, 'governance', soon);

    const before = await planned();
    expect(before?.points.map((p) => [p.id, p.stays])).toEqual([
      ['shop-4', true],
      ['shop-3', false],
      ['shop-2', false],
      ['shop-1', false],
    ]);
    expect(await run()).toMatchObject({ removed: [], waiting: 3, stays: 1 });
    for (const store of stores) expect(await idsIn(store)).toEqual(['shop-1', 'shop-2', 'shop-3', 'shop-4']);

    const { removed, refused } = await runUntilRipe();
    expect(removed.toSorted()).toEqual(['shop-1', 'shop-3']);
    expect(refused).toEqual([{ pointId: 'shop-2', why: expect.stringMatching(/^it stays: .*locked until/) }]);
    for (const store of stores) expect(await idsIn(store)).toEqual(['shop-2', 'shop-4']);
    expect((await catalog.points()).map((p) => p.backup.id).sort()).toEqual(['shop-2', 'shop-4']);
    expect(await openIncidents()).toContain('expiry-refused/shop');
    const { removals } = await whole.backupctl<{ removals: { pointId: string; outcome: string; by: string }[] }>(
      ...['retention', 'history', 'shop'],
    );
    expect(removals.find((r) => r.pointId === 'shop-1')).toMatchObject({
      outcome: 'removed',
      by: 'Ada: the disk is full',
    });
  });

  test('finishes what a killed worker had begun, also when the catalog has forgotten the point', async () => {
    const point = makePoint({ id: 'shop-0' });
    for (const store of stores) {
      await publish(store, point);
      await store.delete(prefixOf(point) + backupJsonName);
    }
    await catalog.retention.beginRemovals([
      { pointId: 'shop-0', source: 'shop', reasons: ['old'], by: 'the schedule' },
    ]);
    expect((await run()).removed).toEqual(['shop-0']);
    for (const store of stores) {
      for await (const { key } of store.list(prefixOf(point))) throw new Error(`${key} is still in ${store.name}`);
    }
  });

  test('spares what a restore reads for as long as the restore runs', async () => {
    // Nobody takes it up, so it runs until it is ended here.
    const restore = await whole.client.workflow.start('restore', {
      taskQueue: 'nobody',
      workflowId: 'restore/shop/long',
    });
    const { workflowId, firstExecutionRunId: runId } = restore;
    await catalog.retention.beginReading({ workflowId, runId, pointId: 'shop-4', source: 'shop' });
    await published({ id: 'shop-41' });
    const stays = async () => (await planned())?.points.find((p) => p.id === 'shop-4')?.stays;
    for (const _ of [1, 2]) {
      expect(await stays()).toBe(true);
      expect(await run()).toMatchObject({ removed: [], waiting: 0, stays: 3 });
      await setTimeout(1_100);
    }
    await restore.terminate('the test is over');
    expect(await stays()).toBe(false);
    expect((await runUntilRipe()).removed).toEqual(['shop-4']);
    for (const store of stores) expect(await idsIn(store)).toEqual(['shop-2', 'shop-41']);
    expect(await catalog.retention.readings('shop')).toEqual([]);
  });

  test('stops when the source has changed suddenly, until a person has decided', async () => {
    await published({ id: 'shop-5' }, { id: 'shop-6' }, { id: 'shop-7' }, { id: 'shop-8', sourceBytes: 1e6 });
    for (const _ of [1, 2]) {
      expect(await run()).toMatchObject({
        outcome: 'stopped',
        stopped: expect.stringContaining('shop-8: source size'),
        removed: [],
        waiting: 0,
      });
    }
    expect(await openIncidents()).toContain('expiry-stopped/shop');
    expect((await planned())?.points.every((p) => p.stays)).toBe(true);
    const decision = ['--operator', 'Ada', '--reason', 'the old photos were moved away'];
    await whole.backupctl('retention', 'resume', 'shop', ...decision);
    expect(await openIncidents()).not.toContain('expiry-stopped/shop');
    expect(await catalog.retention.anomalyDecisions('shop')).toMatchObject([{ pointId: 'shop-8', operator: 'Ada' }]);
    const removed = (await runUntilRipe()).removed.toSorted();
    expect(removed).toEqual(['shop-41', 'shop-5', 'shop-6', 'shop-7']);
    for (const store of stores) expect(await idsIn(store)).toEqual(['shop-2', 'shop-8']);
  });

  test('takes the WAL that no point needs any more with it, out of all three copies', async () => {
    const facts = (startLsn: string, endLsn: string) => ({ startLsn, endLsn, timeline: 1 });
    const range = (start: bigint) =>
      walRangeKey('cluster', { timeline: 1, start, end: start + 0x100n, until: '2026-01-01T00:00:00Z' }, 'abcdef01');
    for (const store of stores) {
      for (const start of [0x100n, 0x200n, 0x300n]) await store.put(range(start), bytesSource('sealed'), {});
    }
    await published(
      { id: 'cluster-1', source: 'cluster', facts: facts('0/150', '0/160') },
      { id: 'cluster-2', source: 'cluster', facts: facts('0/300', '0/310') },
    );
    const plan = await whole.backupctl<{ sources: { wal: unknown }[] }>('retention', 'plan', 'cluster');
    expect(plan.sources[0]?.wal).toMatchObject({ neededFrom: expect.stringMatching(/^0\/(150|300)$/) });
    for (let removed = 0; removed === 0; ) {
      const person = ['--source', 'cluster', '--operator', 'Ada', '--reason', 'a test'];
      const { sources } = await whole.backupctl<RetentionResult>('retention', 'run', '--wait', ...person);
      removed = sources[0]?.wal?.removed ?? 0;
      await setTimeout(200);
    }
    for (const store of stores) {
      const left: string[] = [];
      for await (const { key } of store.list('cluster/wal/')) left.push(key);
      expect(left).toEqual([range(0x300n)]);
    }
  });

  test('is foretold for a changed policy, point by point, before it is applied', async () => {
    await published({ id: 'shop-90' }, { id: 'shop-91', parent: 'shop-90' }, { id: 'shop-92' });
    const off = { keep: 0 };
    const hour = (new Date().getUTCHours() + 6) % 24;
    const saying = async (keepManual: string) => {
      const { calendar, retention } = whole.policy;
      // No schedule of it fires while this runs.
      const calendars = Object.fromEntries(
        scheduledClasses.map((name) => [name, { ...calendar[name], ...off }] as const),
      );
      const file = path.join(whole.dataDir, `keep-${keepManual}.yaml`);
      const at = `${String(hour).padStart(2, '0')}:30`;
      const changed = { calendar: { ...calendar, ...calendars }, retention: { ...retention, keepManual, at } };
      const sources = whole.policy.sources.filter((source) => source.name === 'shop');
      await writeFile(file, stringify({ ...whole.policy, ...changed, sources }));
      return ['--json', '--policy', file];
    };
    expect(await backupctl([...(await saying('90d')), 'policy', 'apply'])).toMatchObject({ exitCode: 0 });
    const changed = await saying('1s');
    const { stdout } = await backupctl([...changed, 'policy', 'diff']);
    const { impact } = JSON.parse(stdout) as { impact: PolicyImpact };
    const going = impact.goes.map((p) => p.pointId).toSorted();
    expect(going).toEqual(expect.arrayContaining(['shop-90', 'shop-91']));
    expect(going).not.toContain('shop-92');
    expect(impact).toMatchObject({ isFirst: false, stays: [] });
    expect(impact.chains).toContainEqual({ source: 'shop', full: 'shop-90', points: 2, goes: 2 });
    const { stdout: text } = await backupctl([...changed.slice(1), 'policy', 'diff']);
    expect(text).toMatch(/recovery points go that would have stayed/);
    expect(text).toMatch(/the chain of shop-90 goes with all 2 points/);
    await whole.client.schedule.getHandle('retention').delete();
  });

  test('leaves enough to tell by what the policy will keep: the size is measured, the rest assumed', async () => {
    const { sources } = await whole.backupctl<{ sources: { basis: Record<string, string> }[] }>(
      ...['policy', 'simulate', '--years', '1'],
    );
    expect(sources[0]?.basis).toMatchObject({
      fullBytes: expect.stringMatching(/, as shop-(2|8|9\d)$/),
      changePerDay: expect.stringContaining('assumed'),
    });
  });
});
