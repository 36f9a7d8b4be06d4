import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { CancelledFailure } from '@temporalio/common';
import { createHostActivities, type SealOutcome } from '../../activities/host.ts';
import { parseBackupJson } from '../../engine/artifact/index.ts';
import { createFilesSource } from '../../engine/sources/index.ts';
import type { BackupPlan } from '../../policies/backup-plan.ts';
import { filesSource, type Policy } from '../../policies/policy.ts';
import { backupJsonName, type SealedPoint, type Validation } from '../../policies/recovery-point.ts';
import { makePlace, type Place } from '../engine/artifact/sealing.ts';
import { signer, trusted } from '../engine/catalog/points.ts';
import { policyOf } from '../policies/policies.ts';
import { plan as usualPlan } from '../workflows/stand-ins.ts';
import { activityEnvironment, errorOf } from './environment.ts';

let place: Place;
let tree: string;
let staging: string;
let host: ReturnType<typeof createHostActivities>;
/** Jobs that are still running, by workflow id. */
let running: Set<string>;
let reads: number;
/** Where the source says that it lies. */
let probed: string;
let socket: Server;

const plan: BackupPlan = { ...usualPlan, pointId: 'shop-1' };
const dirOf = (pointId: string, source = 'shop') => path.join(staging, source, pointId);
const validation: Validation = {
  finishedAt: '2026-01-02T03:10:00Z',
  passed: true,
  checks: [{ check: 'integrity', passed: true, details: 'read', durationMs: 1 }],
};

beforeAll(async () => {
  place = await makePlace();
});
afterAll(() => place.remove());

beforeEach(() => {
  const dir = mkdtempSync(path.join(place.dir, 'test-'));
  tree = path.join(dir, 'tree');
  staging = path.join(dir, 'staging');
  probed = tree;
  mkdirSync(tree);
  for (let i = 0; i < 5; i++) writeFileSync(path.join(tree, `${i}.txt`), `file ${i}`.repeat(1000));
  // A socket is not backed up, which is worth a warning.
  socket = createServer().listen(path.join(tree, 'socket'));
  running = new Set();
  reads = 0;
  const policy: Policy = policyOf({
    staging: { path: staging },
    keys: { recipients: [place.recipient], signing: 'env:SIGNING', trusted, identity: 'env:IDENTITY' },
    sources: [{ name: 'shop', kind: 'files', path: tree }],
  });
  const files = createFilesSource(filesSource.parse({ name: 'shop', kind: 'files', path: tree }));
  host = createHostActivities({
    policy,
    source: async () => ({
      ...files,
      probe: async () => ({ ...(await files.probe()), facts: { path: probed } }),
      seal: (writer, options) => {
        reads += 1;
        return files.seal(writer, options);
      },
    }),
    signingKey: async () => signer,
    software: 'tests',
    isRunning: async (workflowId) => running.has(workflowId),
  });
});
afterEach(() => {
  socket.close();
});

const seal = (point = plan, environment = activityEnvironment()) =>
  environment.run(host.sealPoint, point) as Promise<SealOutcome>;

describe('sealing onto the staging disk', () => {
  test('says what it brought, and how it gets on', async () => {
    const environment = activityEnvironment();
    const outcome = await seal(plan, environment);
    expect(outcome).toMatchObject({ sourceBytes: 30_000, warnings: [expect.stringContaining('skipped the socket')] });
    expect(outcome.storedBytes).toBeLessThan(outcome.sourceBytes);
    expect(environment.beats.at(-1)).toMatchObject({ phase: 'seal' });
    expect(readdirSync(dirOf('shop-1'))).not.toContain('.scratch');
  });

  test('a second time finds the point sealed: the source is read once, and no warning is lost', async () => {
    const first = await seal();
    rmSync(tree, { recursive: true });
    expect(await seal()).toEqual(first);
    expect(reads).toBe(1);
  });

  test('begins afresh where an attempt was killed half way', async () => {
    mkdirSync(path.join(dirOf('shop-1'), '.scratch'), { recursive: true });
    writeFileSync(path.join(dirOf('shop-1'), 'data.tar.zst.tink'), 'half of it');
    expect(await seal()).toMatchObject({ sourceBytes: 30_000 });
    expect(readFileSync(path.join(dirOf('shop-1'), 'data.tar.zst.tink'), 'latin1')).not.toContain('half of it');
  });

  test('compares with the point that was planned, unless the source turns out to be another one; then it says so', async () => {
    await seal();
    const sealed = JSON.parse(readFileSync(path.join(dirOf('shop-1'), 'sealed.json'), 'utf8')) as SealedPoint;
    const manifest = sealed.objects.find((o) => o.role === 'manifest')?.sha256 ?? '';
    await activityEnvironment().run(host.discardStaging, { source: 'shop', pointId: 'shop-1', published: true });
    const since = { ...plan, level: 'incremental', parent: { pointId: 'shop-1', manifest, from: 'disk' } } as const;
    expect(await seal({ ...since, pointId: 'shop-2' })).toMatchObject({ level: 'incremental' });
    probed = '/elsewhere';
    const other = await seal({ ...since, pointId: 'shop-3' });
    expect(other.level).toBe('full');
    expect(other.warnings).toContainEqual(expect.stringContaining(`its path was ${tree}, and is /elsewhere`));
  });

  test('removes what jobs that are gone had staged, and nothing of those that run', async () => {
    running.add('backup/runs');
    const old = new Date(Date.now() - 3_600_000);
    const staged = (source: string, pointId: string, workflowId?: string) => {
      mkdirSync(dirOf(pointId, source), { recursive: true });
      if (workflowId)
        writeFileSync(path.join(dirOf(pointId, source), 'owner.json'), JSON.stringify({ workflowId, runId: 'r' }));
    };
    staged('shop', 'runs', 'backup/runs');
    staged('shop', 'gone', 'backup/gone');
    staged('other', 'gone too', 'backup/gone');
    staged('shop', 'being made');
    staged('shop', 'old and nobody’s');
    utimesSync(dirOf('old and nobody’s'), old, old);
    mkdirSync(path.join(staging, '.validation', 'a test under way'), { recursive: true });
    await seal();
    expect(readdirSync(path.join(staging, 'shop')).sort()).toEqual(['being made', 'runs', 'shop-1']);
    expect(readdirSync(path.join(staging, 'other'))).toEqual([]);
    expect(existsSync(path.join(staging, '.validation', 'a test under way'))).toBe(true);
  });

  test('ends as cancelled when it is told to, and leaves nothing that would pass for sealed', async () => {
    const environment = activityEnvironment();
    environment.on('heartbeat', () => environment.cancel('CANCELLED'));
    expect(await errorOf(seal(plan, environment))).toBeInstanceOf(CancelledFailure);
    expect(existsSync(path.join(dirOf('shop-1'), 'sealed.json'))).toBe(false);
  });
});

describe('signing', () => {
  test('lays backup.json beside what was sealed, with the validation; the same again when repeated', async () => {
    await seal();
    const sign = () => activityEnvironment().run(host.signPoint, { plan, validation });
    await sign();
    const text = readFileSync(path.join(dirOf('shop-1'), backupJsonName));
    expect(parseBackupJson(text, trusted)).toMatchObject({ id: 'shop-1', validation });
    await sign();
    expect(readFileSync(path.join(dirOf('shop-1'), backupJsonName))).toEqual(text);
  });

  test('fails for good when what was sealed is gone', async () => {
    const error = await errorOf(activityEnvironment().run(host.signPoint, { plan, validation }));
    expect(error).toMatchObject({ type: 'ObjectMissing', nonRetryable: true });
  });
});

test('discarding removes all of a point and nothing of another, and may be repeated', async () => {
  await seal();
  await seal({ ...plan, pointId: 'shop-2' });
  running.add('test');
  for (let i = 0; i < 2; i++)
    await activityEnvironment().run(host.discardStaging, { source: 'shop', pointId: 'shop-1' });
  expect(readdirSync(path.join(staging, 'shop'))).toEqual(['shop-2']);
});
