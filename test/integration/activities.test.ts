import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createCoordinationActivities, type JobEnd } from '../../activities/coordination.ts';
import { createRecoveryActivities } from '../../activities/recovery.ts';
import { createStrainActivities } from '../../activities/strain.ts';
import { type Catalog, openCatalog } from '../../engine/catalog/index.ts';
import type { NotificationEvent } from '../../engine/notify/index.ts';
import type { Store } from '../../engine/stores/index.ts';
import type { BackupPlan } from '../../policies/backup-plan.ts';
import { Failure } from '../../policies/failure.ts';
import type { Policy } from '../../policies/policy.ts';
import type { CopyOutcome } from '../../workflows/contracts.ts';
import { activityEnvironment, errorOf } from '../activities/environment.ts';
import { type MadePoint, makePoint, makeStores, publish, stranger, trusted } from '../engine/catalog/points.ts';
import { policyOf } from '../policies/policies.ts';
import { makeDatabase, type TestDatabase } from '../support/services.ts';
import { plan as usualPlan } from '../workflows/stand-ins.ts';

/** What coordination and recovery workers do, on a real catalog and on real stores. */

let database: TestDatabase;
let catalog: Catalog;
let made: ReturnType<typeof makeStores>;
let policy: Policy;
let told: NotificationEvent[];
/** Whether the jobs that the catalog names still run. */
let isRunning: boolean;
let coordination: ReturnType<typeof createCoordinationActivities>;
let recovery: ReturnType<typeof createRecoveryActivities>;

const storeNamed = (name: string): Store => {
  const store = made.stores.find((s) => s.name === name);
  if (!store) throw new Error(`no store ${name}`);
  return store;
};
const run = <I, O>(activity: (input: I) => Promise<O>, input: I): Promise<O> =>
  activityEnvironment().run(activity, input) as Promise<O>;

beforeAll(async () => {
  database = await makeDatabase();
  catalog = await openCatalog({ dsn: database.uri });
  await catalog.migrate();
});
afterAll(async () => {
  await catalog?.close();
  await database?.drop();
});

beforeEach(() => {
  made = makeStores('near', 'far');
  const plain = policyOf({
    site: { region: 'here' },
    sources: [{ name: 'shop', kind: 'files', path: '/shop' }],
    copies: [
      { kind: 'directory', name: 'near', region: 'here', path: path.join(made.dir, 'near'), pruneAfter: '7d' },
      { kind: 'directory', name: 'far', region: 'there', path: path.join(made.dir, 'far'), medium: 'object-storage' },
    ],
  });
  policy = { ...plain, keys: { ...plain.keys, trusted } };
  told = [];
  isRunning = true;
  const store = async (name: string) => storeNamed(name);
  coordination = createCoordinationActivities({
    policy,
    catalog,
    store,
    announce: async (event) => {
      told.push(event);
      return ['The webhook at hooks.example did not take the message (HTTP 500).'];
    },
    openRun: async (_, runId) => (isRunning ? runId : null),
  });
  const never = () => Promise.reject(new Error('not for this'));
  recovery = createRecoveryActivities({
    policy,
    catalog,
    store,
    source: never,
    identity: async () => '',
    resolveSecret: never,
  });
});
afterEach(async () => {
  for (const point of await catalog.points({})) {
    for (const { copy } of point.copies) await catalog.forgetCopy(point.backup.id, copy);
  }
  for (const incident of await catalog.incidents({ open: true })) await catalog.resolveIncident(incident.id);
  made.remove();
});

const planOf = ({ backup }: MadePoint): BackupPlan => ({
  ...usualPlan,
  source: backup.source.name,
  pointId: backup.id,
});
const verified = (copy: string): CopyOutcome => ({ copy, state: 'verified', error: null });
const openIncidents = async () => (await catalog.incidents({ open: true })).map((i) => i.key).sort();

/** A point that lies in the named stores, and is recorded. */
async function recorded(id: string, copies: string[], capturedAt?: string): Promise<MadePoint> {
  const point = makePoint({ id, ...(capturedAt ? { capturedAt } : {}) });
  for (const copy of copies) await publish(storeNamed(copy), point);
  const outcomes = ['near', 'far'].map(
    (copy): CopyOutcome => (copies.includes(copy) ? verified(copy) : { copy, state: 'failed', error: 'away' }),
  );
  await run(coordination.recordPoint, { plan: planOf(point), copies: outcomes });
  return point;
}

describe('planning a backup', () => {
  test('takes the sizes of the points before along, newest first, and names the point anew each time', async () => {
    await recorded('shop-1', ['near', 'far'], '2026-01-01T00:00:00Z');
    await recorded('shop-2', ['near', 'far'], '2026-01-02T00:00:00Z');
    const sizes = (await catalog.points({ source: 'shop' })).map((p) => p.storedBytes);
    const asked = { source: 'shop', level: 'full' as const, classes: ['daily' as const], anytime: false };
    const [one, two] = [await run(coordination.planBackup, asked), await run(coordination.planBackup, asked)];
    expect(one).toMatchObject({ source: 'shop', host: 'local', classes: ['daily'], sizeHistory: sizes });
    expect(one.copies.map((c) => c.name)).toEqual(['near', 'far']);
    expect(one.pointId).not.toBe(two.pointId);
  });

  test('is refused for a source that the policy does not know', async () => {
    const error = await errorOf(
      run(coordination.planBackup, { source: 'shpo', level: 'full', classes: ['manual'], anytime: false }),
    );
    expect(error).toMatchObject({ type: 'SourceUnknown', nonRetryable: true });
  });
});

describe('slots for critical sources only', () => {
  test('are an incident that people are told of once, until everybody gets slots again', async () => {
    const announced: unknown[] = [];
    const announce = async (event: unknown) => {
      announced.push(event);
      return [];
    };
    const { noteStrain } = createStrainActivities({ catalog, announce });
    for (const why of ['the WAL of shop waits', 'the WAL of shop waits; that of docs too'])
      await run(noteStrain, { why });
    expect(await openIncidents()).toEqual(['critical-only']);
    expect(announced).toMatchObject([{ incident: { source: null, summary: expect.stringContaining('WAL of shop') } }]);
    await run(noteStrain, { why: null });
    expect(await openIncidents()).toEqual([]);
  });
});

describe('recording a point', () => {
  test('enters it as the stores hold it, with what became of every copy, and may be repeated', async () => {
    const point = await recorded('shop-1', ['near', 'far']);
    await run(coordination.recordPoint, { plan: planOf(point), copies: [verified('near'), verified('far')] });
    expect(await catalog.point('shop-1')).toMatchObject({
      backup: point.backup,
      copies: [
        { copy: 'far', state: 'verified', error: null },
        { copy: 'near', state: 'verified', error: null },
      ],
    });
    expect(await openIncidents()).toEqual([]);
  });

  test('opens an incident where the 3-2-1 rule is breached, which the next good point resolves', async () => {
    await recorded('shop-1', ['near']);
    expect(await openIncidents()).toEqual(['rule-breached/shop']);
    await recorded('shop-2', ['near', 'far']);
    expect(await openIncidents()).toEqual([]);
  });

  test('believes no copy whose description somebody else signed, or that is not there', async () => {
    const forged = makePoint({ id: 'shop-1', signedBy: stranger });
    await publish(storeNamed('near'), forged);
    const input = { plan: planOf(forged), copies: [verified('near')] };
    expect(await errorOf(run(coordination.recordPoint, input))).toMatchObject({ type: 'SignatureInvalid' });
    const absent = { plan: planOf(makePoint({ id: 'shop-2' })), copies: [verified('near')] };
    expect(await errorOf(run(coordination.recordPoint, absent))).toMatchObject({ type: 'ObjectMissing' });
    expect(await catalog.points({})).toEqual([]);
  });
});

test('a copy that was pruned is forgotten, and the point with its last one', async () => {
  await recorded('shop-1', ['near', 'far']);
  await run(coordination.recordPruned, { pruned: [{ pointId: 'shop-1', copy: 'near' }] });
  expect((await catalog.point('shop-1'))?.copies.map((c) => c.copy)).toEqual(['far']);
  for (let i = 0; i < 2; i++) await run(coordination.recordPruned, { pruned: [{ pointId: 'shop-1', copy: 'far' }] });
  expect(await catalog.point('shop-1')).toBeNull();
  expect(await run(coordination.planPrune, { source: 'shop' })).toEqual([]);
});

test('what a restore reads is not pruned until the restore has ended, however it did', async () => {
  const weeksAgo = (weeks: number) => new Date(Date.now() - weeks * 7 * 86_400_000).toISOString();
  for (const [i, id] of ['shop-1', 'shop-2', 'shop-3'].entries()) {
    await recorded(id, ['near', 'far']);
    for (const copy of (await catalog.point(id))?.copies ?? []) {
      await catalog.recordCopy({ ...copy, publishedAt: weeksAgo(9 - i) });
    }
  }
  const pruned = async () => (await run(coordination.planPrune, { source: 'shop' })).map((s) => s.pointId).sort();
  expect(await pruned()).toEqual(['shop-1', 'shop-2']);
  const asked = { source: 'shop', pointId: 'shop-1', into: { directory: '/back' }, operator: 'Ada', reason: 'a test' };
  for (let i = 0; i < 2; i++) await run(recovery.locatePoint, asked);
  expect(await catalog.retention.readings('shop')).toMatchObject([{ pointId: 'shop-1' }]);
  expect(await pruned()).toEqual(['shop-2']);
  isRunning = false;
  expect(await pruned()).toEqual(['shop-1', 'shop-2']);
  expect(await catalog.retention.readings('shop')).toEqual([]);
});

describe('the end of a job', () => {
  const end = (more: Partial<JobEnd> = {}): JobEnd => ({
    workflowId: 'backup/shop/1',
    runId: 'run-1',
    source: 'shop',
    pointId: 'shop-1',
    level: 'full',
    outcome: 'failed',
    startedAt: '2026-01-02T03:00:00.000Z',
    finishedAt: '2026-01-02T03:04:05.000Z',
    phases: [{ name: 'plan', durationMs: 3 }],
    error: 'The disk burns',
    result: null,
    leftovers: { staging: false, copies: [] },
    unreached: [],
    ...more,
  });

  test('that is concluded twice is one job and one incident', async () => {
    for (let i = 0; i < 2; i++) await run(coordination.concludeJob, end());
    const jobs = await catalog.jobs({ source: 'shop' });
    expect(jobs).toHaveLength(1);
    expect(jobs[0]).toMatchObject({
      outcome: 'failed',
      finishedAt: '2026-01-02T03:04:05.000Z',
      error: 'The disk burns',
    });
    const [incident] = await catalog.incidents({ open: true });
    expect(incident).toMatchObject({ key: 'backup-failed/shop', severity: 'critical', source: 'shop' });
    expect(incident?.summary).toContain('The disk burns');
  });

  test('resolves what a failure before had opened, and nothing of other sources', async () => {
    await run(coordination.concludeJob, end());
    await run(coordination.concludeJob, end({ source: 'other', runId: 'run-2' }));
    await run(coordination.concludeJob, end({ outcome: 'succeeded', error: null, runId: 'run-3' }));
    expect(await openIncidents()).toEqual(['backup-failed/other']);
  });

  test('opens an incident for those who could not be told, until they can', async () => {
    const unreached = await run(coordination.announceJob, end());
    expect(told).toMatchObject([{ source: 'shop', outcome: 'failed', error: 'The disk burns' }]);
    await run(coordination.concludeJob, end({ outcome: 'succeeded', unreached }));
    expect(await openIncidents()).toEqual(['notification-failed']);
    await run(coordination.concludeJob, end({ outcome: 'succeeded', runId: 'run-2' }));
    expect(await openIncidents()).toEqual([]);
  });

  test('opens an incident for what was left behind, until it is gone', async () => {
    await run(coordination.concludeJob, end({ outcome: 'succeeded', leftovers: { staging: true, copies: ['far'] } }));
    const [incident] = await catalog.incidents({ open: true });
    expect(incident).toMatchObject({ key: 'leftovers/shop-1', severity: 'warning' });
    expect(incident?.summary).toContain("the host's staging disk, far");
    await run(coordination.resolveLeftovers, { pointId: 'shop-1' });
    expect(await openIncidents()).toEqual([]);
  });
});

describe('finding what to restore', () => {
  const asked = { source: 'shop', into: { directory: '/x' }, operator: 'Ada', reason: 'a test' };

  test('takes the newest point, from the first copy of the policy that holds it', async () => {
    await recorded('shop-1', ['near', 'far'], '2026-01-01T00:00:00Z');
    await recorded('shop-2', ['far'], '2026-01-02T00:00:00Z');
    expect(await run(recovery.locatePoint, asked)).toEqual({ pointId: 'shop-2', from: 'far' });
    expect(await run(recovery.locatePoint, { ...asked, pointId: 'shop-1' })).toEqual({
      pointId: 'shop-1',
      from: 'near',
    });
    const far = { ...asked, pointId: 'shop-1', from: 'far' };
    expect(await run(recovery.locatePoint, far)).toEqual({ pointId: 'shop-1', from: 'far' });
  });

  test('passes over copies that have turned out not to have it', async () => {
    await recorded('shop-1', ['near', 'far']);
    const again = { ...asked, pointId: 'shop-1', passOver: ['near'] };
    expect(await run(recovery.locatePoint, again)).toEqual({ pointId: 'shop-1', from: 'far' });
    const none = await errorOf(run(recovery.locatePoint, { ...again, passOver: ['near', 'far'] }));
    expect(none).toMatchObject({ type: 'CopyUnknown' });
  });

  test('is told by what it lacks that a copy has lost the point since', async () => {
    await recorded('shop-1', ['near', 'far']);
    await storeNamed('near').delete('shop/shop-1/backup.json');
    const lost = { ...asked, pointId: 'shop-1', from: 'near' };
    const error = await errorOf(run(recovery.restorePoint, lost));
    expect(error).toMatchObject({ type: 'ObjectMissing', nonRetryable: true });
    expect(error).toMatchObject({ message: expect.stringContaining('near has no recovery point shop-1 of shop') });
  });

  test.each([
    ['no such point', { pointId: 'shop-9' }, 'PointUnknown'],
    ['a point of another source', { source: 'other', pointId: 'shop-1' }, 'PointUnknown'],
    ['a source without a point', { source: 'other' }, 'PointUnknown'],
    ['a copy that does not hold it', { from: 'near' }, 'CopyUnknown'],
    ['a copy that there is not', { from: 'moon' }, 'CopyUnknown'],
  ])('fails for %s, and is not tried again', async (_, more, type) => {
    await recorded('shop-1', ['far']);
    const error = await errorOf(run(recovery.locatePoint, { ...asked, ...more }));
    expect(error).toMatchObject({ type, nonRetryable: true, details: [{ next: expect.any(String) }] });
  });
});

test('a catalog that does not answer is tried again', async () => {
  const { planBackup } = createCoordinationActivities({
    policy,
    catalog: {
      ...catalog,
      points: () => Promise.reject(new Failure('CatalogUnreachable', 'no answer', { next: 'Start it.' })),
    },
    store: async (name) => storeNamed(name),
    announce: async () => [],
    openRun: async () => null,
  });
  const error = await errorOf(run(planBackup, { source: 'shop', level: 'full', classes: ['manual'], anytime: false }));
  expect(error).toMatchObject({ type: 'CatalogUnreachable', nonRetryable: false });
});
