import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { createTransferActivities } from '../../activities/transfer.ts';
import { policyApply } from '../../client/commands/policy-apply.ts';
import type { Context } from '../../client/context.ts';
import { examineStore } from '../../client/doctor/stores.ts';
import type { Store } from '../../engine/stores/index.ts';
import { openStore } from '../../engine/stores/open.ts';
import { assembleWayOut } from '../../engine/way-out/index.ts';
import type { StoreAccess } from '../../policies/credentials.ts';
import { planBackup } from '../../policies/plan.ts';
import type { Policy } from '../../policies/policy.ts';
import { type BackupClass, backupJsonName } from '../../policies/recovery-point.ts';
import { type MadePoint, makePoint, prefixOf, trusted } from '../engine/catalog/points.ts';
import { policyOf } from '../policies/policies.ts';
import { type GuardedBucket, makeGuardedBucket } from '../support/guarded-bucket.ts';
import { makeBucket, services, uniqueName } from '../support/services.ts';

/** Locks as the policy promises them, with the credentials of the roles, on a real S3 server. */

const day = 86_400_000;
const activities = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') });
let staging: string;
let guarded: GuardedBucket;
let bare: string;
let policy: Policy;
const stores: Store[] = [];

beforeAll(async () => {
  const { s3 } = await services();
  staging = await mkdtemp(path.join(tmpdir(), 'locks-'));
  guarded = await makeGuardedBucket(s3.east);
  bare = await makeBucket(s3.east);
  const { endpoint, region } = s3.east;
  const lock = { mode: 'compliance', keep: { weekly: '7d', yearly: '30d' } };
  const bucket = { kind: 's3', region, endpoint, forcePathStyle: true, lock, deadline: '1h' };
  const pair = (access: StoreAccess) => ({ accessKeyId: `env:${access}_id`, secretAccessKey: `env:${access}_key` });
  const root = { accessKeyId: 'env:root_id', secretAccessKey: 'env:root_key' };
  const credentials = { write: pair('write'), read: pair('read'), delete: pair('delete'), hold: pair('hold') };
  policy = policyOf({
    staging: { path: staging },
    keys: { ...policyOf().keys, trusted },
    sources: [{ kind: 'files', name: 'shop', path: '/srv/shop' }],
    copies: [
      { ...bucket, name: 'vault', bucket: guarded.bucket, credentials },
      { ...bucket, name: 'bare', bucket: bare, ...root },
    ],
  });
});
afterEach(() => {
  jest.restoreAllMocks();
});
afterAll(async () => {
  for (const store of stores) await store.close();
  await rm(staging, { recursive: true, force: true });
});

async function open(name: string, access: StoreAccess): Promise<Store> {
  const copy = policy.copies.find((c) => c.name === name);
  if (!copy) throw new Error(`there is no copy ${name}`);
  const { s3 } = await services();
  const store = await openStore(copy, {
    access,
    resolveSecret: async (ref) => {
      const [holder, half] = ref.slice('env:'.length).split('_');
      const keys = holder === 'root' ? s3.east : guarded.users[holder as StoreAccess];
      return half === 'id' ? keys.accessKeyId : keys.secretAccessKey;
    },
  });
  stores.push(store);
  return store;
}

/** A point on the staging disk, and the plan to copy it. */
async function stage(...classes: BackupClass[]): Promise<{ point: MadePoint; plan: ReturnType<typeof planBackup> }> {
  const request = { source: 'shop', level: 'full' as const, classes, points: [] };
  const plan = planBackup(policy, { ...request, now: new Date().toISOString(), random: uniqueName('') });
  const point = makePoint({ id: plan.pointId });
  const dir = path.join(staging, prefixOf(point));
  await mkdir(dir, { recursive: true });
  for (const [name, bytes] of point.objects) await writeFile(path.join(dir, name), bytes);
  await writeFile(path.join(dir, backupJsonName), point.text);
  return { point, plan };
}

async function copy(plan: ReturnType<typeof planBackup>, name = 'vault'): Promise<void> {
  const transfer = createTransferActivities({
    policy,
    store: (n) => open(n, 'write'),
    tellSending: () => Promise.reject(new Error('not for this')),
  });
  await activities.run(transfer.uploadCopy, { plan, copy: name });
  await activities.run(transfer.verifyCopy, { plan, copy: name });
  await activities.run(transfer.publishCopy, { plan, copy: name });
}

describe('a point of a class that is locked', () => {
  test('is locked with all its objects for as long as the policy promises, from publication', async () => {
    const { point, plan } = await stage('weekly', 'yearly');
    await copy(plan);
    const store = await open('vault', 'read');
    const { modifiedAt } = await store.head(prefixOf(point) + backupJsonName);
    for (const name of [...point.objects.keys(), backupJsonName]) {
      const { lockedUntil } = await store.head(prefixOf(point) + name);
      expect(Date.parse(lockedUntil ?? '')).toBeGreaterThanOrEqual(Date.parse(modifiedAt) + 30 * day);
    }
  });

  test('has its way out locked as long, and longer with the next one', async () => {
    const store = await open('vault', 'read');
    const untils: number[] = [];
    for (const name of ['weekly', 'yearly'] as const) {
      const { point, plan } = await stage(name);
      await copy(plan);
      const { lockedUntil } = await store.head(prefixOf(point) + backupJsonName);
      for (const file of Object.values(assembleWayOut())) {
        const found = await store.head(file.name);
        expect(Date.parse(found.lockedUntil ?? '')).toBeGreaterThanOrEqual(Date.parse(lockedUntil ?? ''));
        untils.push(Date.parse(found.lockedUntil ?? ''));
      }
    }
    expect(Math.max(...untils)).toBeGreaterThanOrEqual(Date.now() + 30 * day);
  });

  test('is not removed, not even by the role that removes', async () => {
    const { point, plan } = await stage('weekly');
    await copy(plan);
    const [remover, reader] = [await open('vault', 'delete'), await open('vault', 'read')];
    for (const name of [backupJsonName, ...point.objects.keys()]) {
      await expect(remover.delete(prefixOf(point) + name)).rejects.toMatchObject({ type: 'StoreDenied' });
      await reader.head(prefixOf(point) + name);
    }
  });

  test('does not count where the lock came out shorter, because a clock here is behind', async () => {
    const { plan } = await stage('weekly');
    const real = Date.now;
    jest.spyOn(Date, 'now').mockImplementation(() => real() - 2 * day);
    await expect(copy(plan)).rejects.toMatchObject({
      type: 'CapabilityMissing',
      message: expect.stringMatching(/is not as safe as promised: it is locked until/),
    });
  });

  test('is not copied into a bucket that cannot lock', async () => {
    const { plan } = await stage('weekly');
    await expect(copy(plan, 'bare')).rejects.toMatchObject({ type: 'CapabilityMissing' });
    const store = await open('bare', 'write');
    for await (const { key } of store.list(`shop/${plan.pointId}/`)) throw new Error(`${key} was put`);
  });
});

test('a point of a class that is not locked is copied without a lock', async () => {
  const { point, plan } = await stage('manual');
  await copy(plan);
  await copy(plan, 'bare');
  const { lockedUntil } = await (await open('vault', 'read')).head(prefixOf(point) + backupJsonName);
  expect(lockedUntil).toBeNull();
});

test('the doctor refuses a bucket that lacks what the policy of its copy needs', async () => {
  const context = { store: (name: string) => open(name, name === 'bare' ? 'write' : 'read') };
  const examined = async (name: string) => {
    const wanted = policy.copies.find((c) => c.name === name);
    if (!wanted) throw new Error(`there is no copy ${name}`);
    return (await examineStore(context, wanted))[0];
  };
  expect(await examined('vault')).toMatchObject({ ok: true });
  expect(await examined('bare')).toMatchObject({
    ok: false,
    type: 'CapabilityMissing',
    details: expect.stringContaining('lacks Object Lock'),
  });
});

test('a policy is not applied whose locks a store cannot keep, and nothing is changed', async () => {
  const context = {
    policy: async () => policy,
    store: (name: string) => open(name, name === 'bare' ? 'write' : 'read'),
    temporal: async () => {
      throw new Error('Temporal was asked');
    },
  } as unknown as Context;
  await expect(policyApply(context, { dryRun: false })).rejects.toMatchObject({
    type: 'CapabilityMissing',
    message: expect.stringContaining('"bare" lacks Object Lock'),
  });
});
