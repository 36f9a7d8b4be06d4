import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { CancelledFailure } from '@temporalio/common';
import { type CopyReadBack, createTransferActivities } from '../../activities/transfer.ts';
import { bytesSource, type Store } from '../../engine/stores/index.ts';
import { assembleWayOut } from '../../engine/way-out/index.ts';
import type { BackupPlan } from '../../policies/backup-plan.ts';
import { backupJsonName } from '../../policies/recovery-point.ts';
import { type MadePoint, makePoint, makeStores, prefixOf, trusted } from '../engine/catalog/points.ts';
import { policyOf } from '../policies/policies.ts';
import { activityEnvironment, errorOf } from './environment.ts';

let made: ReturnType<typeof makeStores>;
let store: Store;
let staging: string;
/** Keys in the order in which they were put. */
let puts: string[];
let transfer: ReturnType<typeof createTransferActivities>;

beforeEach(() => {
  made = makeStores('near');
  store = made.stores[0] as Store;
  staging = mkdtempSync(path.join(made.dir, 'staging-'));
  puts = [];
  const watched: Store = {
    ...store,
    put: (key, source, options) => {
      puts.push(key);
      return store.put(key, source, options);
    },
  };
  transfer = transferTo(watched);
});
afterEach(() => made.remove());

const activities = activityEnvironment();

function transferTo(near: Store): ReturnType<typeof createTransferActivities> {
  const policy = policyOf({
    copies: [{ kind: 'directory', name: 'near', region: 'here', path: path.join(made.dir, 'near') }],
  });
  return createTransferActivities({
    policy: { ...policy, keys: { ...policy.keys, trusted }, staging: { ...policy.staging, path: staging } },
    store: async () => near,
    tellSending: () => Promise.reject(new Error('not for this')),
  });
}

/** A point as the backup worker leaves it: sealed, validated and signed, on the staging disk. */
function stage(
  id: string,
  parent?: string,
  capturedAt?: string,
): { point: MadePoint; target: { plan: BackupPlan; copy: string } } {
  const point = makePoint({
    id,
    ...(parent === undefined ? {} : { parent }),
    ...(capturedAt === undefined ? {} : { capturedAt }),
  });
  const dir = path.join(staging, prefixOf(point));
  mkdirSync(dir, { recursive: true });
  for (const [name, bytes] of point.objects) writeFileSync(path.join(dir, name), bytes);
  writeFileSync(path.join(dir, backupJsonName), point.text);
  const copies = [{ name: 'near', deadlineMs: 60_000 }];
  const { name: source } = point.backup.source;
  const plan: Partial<BackupPlan> = { source, pointId: id, plannedAt: point.backup.startedAt, copies };
  return { point, target: { plan: plan as BackupPlan, copy: 'near' } };
}

describe('publishing a copy', () => {
  test('lays the way out first: no point exists where it could not be restored from', async () => {
    const { point, target } = stage('shop-1');
    await activities.run(transfer.uploadCopy, target);
    puts = [];
    await activities.run(transfer.publishCopy, target);
    const { script, page } = assembleWayOut();
    expect(puts.slice(0, -1).sort()).toEqual([page.name, script.name].sort());
    expect(puts.at(-1)).toBe(prefixOf(point) + backupJsonName);
  });

  test('refuses what the clock of its host says to be of the future: it would be the newest for ever', async () => {
    const { target } = stage('shop-1', undefined, new Date(Date.now() + 3_600_000).toISOString());
    const error = await errorOf(activities.run(transfer.publishCopy, target));
    expect(error).toMatchObject({ type: 'ValidationFailed', nonRetryable: true });
    expect(String(error)).toMatch(/captured at .* a clock is wrong/);
    expect(puts).toEqual([]);
  });

  test('puts nothing but the description where the way out lies already', async () => {
    for (const id of ['shop-1', 'shop-2']) {
      const { point, target } = stage(id);
      await activities.run(transfer.uploadCopy, target);
      puts = [];
      await activities.run(transfer.publishCopy, target);
      expect(puts.at(-1)).toBe(prefixOf(point) + backupJsonName);
    }
    expect(puts).toHaveLength(1);
  });

  test('fails where what the point needs does not exist, and the point does not exist either', async () => {
    const full = stage('shop-1');
    const next = stage('shop-2', 'shop-1');
    const last = stage('shop-3', 'shop-2');
    await activities.run(transfer.uploadCopy, full.target);
    for (const { target } of [next, last]) {
      await activities.run(transfer.uploadCopy, target);
      await expect(activities.run(transfer.publishCopy, target)).rejects.toMatchObject({ type: 'ChainBroken' });
      expect(readdirSync(path.join(made.dir, 'near', prefixOf(next.point)))).not.toContain(backupJsonName);
    }
    for (const { target } of [full, next, last]) await activities.run(transfer.publishCopy, target);
    expect(readdirSync(path.join(made.dir, 'near', prefixOf(last.point)))).toContain(backupJsonName);
  });

  test('fails where somebody laid another script under the name of ours, and the point does not exist', async () => {
    const { target } = stage('shop-1');
    await activities.run(transfer.uploadCopy, target);
    writeFileSync(path.join(made.dir, 'near', assembleWayOut().script.name), 'not ours');
    await expect(activities.run(transfer.publishCopy, target)).rejects.toMatchObject({ type: 'ObjectExists' });
    expect(readdirSync(path.join(made.dir, 'near', 'shop', 'shop-1'))).not.toContain(backupJsonName);
  });
});

describe('uploading a copy', () => {
  test('goes on where an attempt that died had got to, by the tokens that it had told', async () => {
    const { target, point } = stage('shop-1');
    const tokens = new Map<string, string | undefined>();
    transfer = transferTo({
      ...store,
      put: (key, source, options) => {
        tokens.set(path.basename(key), options.resume);
        return store.put(key, source, options);
      },
    });
    const first = activityEnvironment();
    await first.run(transfer.uploadCopy, target);
    const names = [...point.objects.keys()];
    expect(Object.fromEntries(tokens)).toEqual(Object.fromEntries(names.map((name) => [name, undefined])));
    const heartbeatDetails = first.beats.at(-1);
    expect(Object.keys(heartbeatDetails?.resume ?? {}).sort()).toEqual(names.sort());
    await activityEnvironment({ heartbeatDetails, attempt: 2 }).run(transfer.uploadCopy, target);
    expect(Object.fromEntries(tokens)).toEqual(heartbeatDetails?.resume);
  });

  test('goes on after a pause by what lies in the store, for nobody told of it', async () => {
    const { target, point } = stage('shop-1');
    const [name = '', bytes = Buffer.alloc(0)] = [...point.objects][0] ?? [];
    const { token } = await store.beginPut(prefixOf(point) + name, bytesSource(bytes), {});
    const tokens = new Map<string, string | undefined>();
    transfer = transferTo({
      ...store,
      put: (key, source, options) => {
        tokens.set(path.basename(key), options.resume);
        return store.put(key, source, options);
      },
    });
    await activities.run(transfer.uploadCopy, { ...target, again: true });
    expect([...tokens]).toEqual([...point.objects.keys()].map((key) => [key, key === name ? token : undefined]));
  });

  test('says that what was sealed is gone, and is not tried again', async () => {
    const { target } = stage('shop-1');
    rmSync(path.join(staging, 'shop'), { recursive: true });
    await expect(activities.run(transfer.uploadCopy, target)).rejects.toMatchObject({
      type: 'ObjectMissing',
      nonRetryable: true,
    });
  });
});

describe('verifying a copy', () => {
  const flip = (file: string) => {
    const bytes = readFileSync(file);
    bytes[3] = (bytes[3] ?? 0) ^ 1;
    chmodSync(file, 0o600);
    writeFileSync(file, bytes);
  };

  test('finds one flipped bit, reads once more, and gives up for good: what is written once does not mend', async () => {
    const { target } = stage('shop-1');
    await activities.run(transfer.uploadCopy, target);
    await activities.run(transfer.verifyCopy, target);
    flip(path.join(made.dir, 'near', 'shop', 'shop-1', 'manifest.bin'));
    let reads = 0;
    transfer = transferTo({
      ...store,
      get: (key, ...more) => {
        if (key.endsWith('manifest.bin')) reads += 1;
        return store.get(key, ...more);
      },
    });
    await expect(activities.run(transfer.verifyCopy, target)).rejects.toMatchObject({
      type: 'Corrupt',
      nonRetryable: true,
      message: expect.stringContaining('manifest.bin in near is not what was sealed'),
    });
    expect(reads).toBe(2);
  });

  test('takes a bit that was flipped on the way only for what it is', async () => {
    const { target } = stage('shop-1');
    await activities.run(transfer.uploadCopy, target);
    let reads = 0;
    transfer = transferTo({
      ...store,
      get: async (key, ...more) => {
        reads += 1;
        return reads === 1 ? Readable.from([Buffer.from('noise')]) : store.get(key, ...more);
      },
    });
    await activities.run(transfer.verifyCopy, target);
    expect(reads).toBe(4);
  });

  test('that is ended tells how far it had come, from where another goes on', async () => {
    const { target, point } = stage('shop-1');
    await activities.run(transfer.uploadCopy, target);
    const names = [...point.objects.keys()];
    const [, second = ''] = names;
    const pausing = activityEnvironment();
    let reads: string[] = [];
    transfer = transferTo({
      ...store,
      get: async (key, range, signal) => {
        reads.push(path.basename(key));
        if (reads.length === 2) pausing.cancel();
        return store.get(key, range, signal);
      },
    });
    const paused = await errorOf(pausing.run(transfer.verifyCopy, target));
    expect(paused).toBeInstanceOf(CancelledFailure);
    const [from] = (paused as CancelledFailure).details as [CopyReadBack];
    expect(from).toMatchObject({ object: second, bytes: expect.any(Number) });
    reads = [];
    await activities.run(transfer.verifyCopy, { ...target, from });
    expect(reads).toEqual(names.slice(1));
  });
});
