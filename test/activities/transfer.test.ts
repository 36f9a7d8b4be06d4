import { mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { createTransferActivities } from '../../activities/transfer.ts';
import type { Store } from '../../engine/stores/index.ts';
import { assembleWayOut } from '../../engine/way-out/index.ts';
import type { BackupPlan } from '../../policies/backup-plan.ts';
import { backupJsonName } from '../../policies/recovery-point.ts';
import { type MadePoint, makePoint, makeStores, prefixOf, trusted } from '../engine/catalog/points.ts';
import { policyOf } from '../policies/policies.ts';

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
  const policy = policyOf({
    copies: [{ kind: 'directory', name: 'near', region: 'here', path: path.join(made.dir, 'near') }],
  });
  transfer = createTransferActivities({
    policy: { ...policy, keys: { ...policy.keys, trusted }, staging: { ...policy.staging, path: staging } },
    store: async () => watched,
  });
});
afterEach(() => made.remove());

// Failures are what is asked for here; they need no log.
const activities = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') });

/** A point as the backup worker leaves it: sealed, validated and signed, on the staging disk. */
function stage(id: string, parent?: string): { point: MadePoint; target: { plan: BackupPlan; copy: string } } {
  const point = makePoint({ id, ...(parent === undefined ? {} : { parent }) });
  const dir = path.join(staging, prefixOf(point));
  mkdirSync(dir, { recursive: true });
  for (const [name, bytes] of point.objects) writeFileSync(path.join(dir, name), bytes);
  writeFileSync(path.join(dir, backupJsonName), point.text);
  const copies = [{ name: 'near', deadlineMs: 60_000 }];
  const plan = { source: point.backup.source.name, pointId: id, copies } as unknown as BackupPlan;
  return { point, target: { plan, copy: 'near' } };
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
