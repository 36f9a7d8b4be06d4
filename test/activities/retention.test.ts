import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { createRetentionActivities } from '../../activities/retention.ts';
import { holdPoint } from '../../engine/holds/index.ts';
import { bytesSource, type Store } from '../../engine/stores/index.ts';
import { holdFormat } from '../../policies/hold.ts';
import { backupJsonName } from '../../policies/recovery-point.ts';
import {
  type MadePoint,
  makePoint,
  makeStores,
  prefixOf,
  publish,
  stranger,
  trusted,
} from '../engine/catalog/points.ts';
import { policyOf } from '../policies/policies.ts';

let made: ReturnType<typeof makeStores>;
let near: Store;
let far: Store;
let retention: ReturnType<typeof createRetentionActivities>;

beforeEach(() => {
  days = 0;
  made = makeStores('near', 'far');
  [near, far] = made.stores as [Store, Store];
  const policy = policyOf({
    copies: [
      { kind: 'directory', name: 'near', region: 'here', path: path.join(made.dir, 'near'), pruneAfter: '7d' },
      { kind: 'directory', name: 'far', region: 'there', path: path.join(made.dir, 'far') },
    ],
  });
  retention = createRetentionActivities({
    policy: { ...policy, keys: { ...policy.keys, trusted } },
    store: async (name) => later(name === 'near' ? near : far),
  });
});
afterEach(() => made.remove());

// Failures are what is asked for here; they need no log.
const activities = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') });
const withdraw = (point: MadePoint, copy = 'near') => activities.run(retention.withdrawCopy, asked(point, copy));
const prune = (point: MadePoint, copy = 'near') => activities.run(retention.pruneCopy, asked(point, copy));
const asked = ({ backup }: MadePoint, copy: string) => ({ source: backup.source.name, pointId: backup.id, copy });

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}
const keysOf = async (store: Store) => (await all(store.list(''))).map((o) => o.key);

const day = 24 * 3600 * 1000;
let days = 0;
/** The store as it is that many days later: what its clock said then is as much older now. */
const later = (store: Store): Store => ({
  ...store,
  head: async (key) => {
    const found = await store.head(key);
    return { ...found, modifiedAt: new Date(Date.parse(found.modifiedAt) - days * day).toISOString() };
  },
});

describe('withdrawing a copy', () => {
  test('removes what an attempt left, also what was under way, and nothing else', async () => {
    const other = makePoint({ id: 'shop-1' });
    await publish(near, other);
    const point = makePoint({ id: 'shop-10' });
    await near.put(`${prefixOf(point)}artifact.bin`, bytesSource('half of it'), {});
    await near.beginPut(`${prefixOf(point)}manifest.bin`, bytesSource('under way'), {});
    await expect(withdraw(point)).resolves.toEqual({ published: false });
    expect(await keysOf(near)).toEqual(
      [...other.objects.keys(), backupJsonName].map((n) => prefixOf(other) + n).sort(),
    );
    expect(await all(near.listPending(''))).toEqual([]);
    await expect(withdraw(point)).resolves.toEqual({ published: false });
  });

  test('keeps a copy that was published, whoever asks', async () => {
    const point = makePoint({ id: 'shop-1' });
    await publish(near, point);
    await expect(withdraw(point)).resolves.toEqual({ published: true });
    expect(await keysOf(near)).toHaveLength(4);
  });

  test('removes what only looks like a published copy', async () => {
    const forged = makePoint({ id: 'shop-1', signedBy: stranger });
    await publish(near, forged);
    const foreign = makePoint({ id: 'shop-3' });
    await near.put(`shop/shop-2/${backupJsonName}`, bytesSource(foreign.text), {});
    await expect(withdraw(forged)).resolves.toEqual({ published: false });
    await expect(withdraw(makePoint({ id: 'shop-2' }))).resolves.toEqual({ published: false });
    expect(await keysOf(near)).toEqual([]);
  });
});

describe('pruning a copy', () => {
  let point: MadePoint;
  beforeEach(async () => {
    point = makePoint({ id: 'shop-1' });
    for (const store of [near, far]) await publish(store, point);
  });

  test('removes what is old enough and lies elsewhere', async () => {
    days = 8;
    await prune(point);
    await prune(point);
    expect(await keysOf(near)).toEqual([]);
    expect(await keysOf(far)).toHaveLength(4);
  });

  test('goes by the time at which the store got it, not by what the point says of itself', async () => {
    const backdated = makePoint({ id: 'shop-0', capturedAt: '2001-01-01T00:00:00Z' });
    for (const store of [near, far]) await publish(store, backdated);
    await expect(prune(backdated)).rejects.toMatchObject({ type: 'UsageInvalid' });
    expect(await keysOf(near)).toHaveLength(8);
  });

  test('is refused while it is too young', async () => {
    days = 6;
    await expect(prune(point)).rejects.toMatchObject({
      type: 'UsageInvalid',
      message: expect.stringContaining('not yet for 7d'),
    });
  });

  test('is refused while a point that lies there needs it, whatever the catalog says', async () => {
    const child = makePoint({ id: 'shop-2', parent: 'shop-1' });
    for (const store of [near, far]) await publish(store, child);
    days = 8;
    await expect(prune(point)).rejects.toMatchObject({
      type: 'UsageInvalid',
      message: 'shop-2 needs shop-1, and lies in near, too.',
    });
    expect(await keysOf(near)).toHaveLength(8);
    await prune(child);
    await prune(point);
    expect(await keysOf(near)).toEqual([]);
  });

  describe.each(['near', 'far'])('held in %s', (name) => {
    const place = () => (name === 'near' ? near : far);
    const note = { format: holdFormat, source: 'shop', point: 'shop-1', operator: 'Ada', reason: 'a lawsuit' } as const;

    test('is refused until a person lifts it', async () => {
      days = 8;
      await holdPoint(place(), point.backup, { ...note, action: 'add', at: '2026-03-01T08:00:00.000Z' });
      await expect(prune(point)).rejects.toMatchObject({
        type: 'StoreDenied',
        message: expect.stringContaining(`is held in ${name}, by Ada since 2026-03-01 08:00:00Z: a lawsuit`),
      });
      await holdPoint(place(), point.backup, { ...note, action: 'remove', at: '2026-03-02T08:00:00.000Z' });
      await prune(point);
      expect(await keysOf(near)).toEqual([]);
    });

    test('is refused while a note cannot be read', async () => {
      days = 8;
      await place().put(`${prefixOf(point)}hold.1.json`, bytesSource('rubbish'), {});
      await expect(prune(point)).rejects.toMatchObject({ type: 'StoreDenied' });
    });
  });

  test('is refused where the policy prunes nothing', async () => {
    await expect(prune(point, 'far')).rejects.toMatchObject({ message: expect.stringContaining('"far"') });
  });

  test.each([
    ['lacks it', async () => far.delete(prefixOf(point) + backupJsonName), 'ObjectMissing'],
    ['lacks an object of it', async () => far.delete(`${prefixOf(point)}key.bin`), 'ObjectMissing'],
    [
      'has another object in its place',
      async () => {
        await far.delete(`${prefixOf(point)}key.bin`);
        await far.put(`${prefixOf(point)}key.bin`, bytesSource('another key'), {});
      },
      'ChecksumMismatch',
    ],
    [
      'has another point in its place',
      async () => {
        await far.delete(prefixOf(point) + backupJsonName);
        await far.put(prefixOf(point) + backupJsonName, bytesSource(makePoint({ id: 'shop-2' }).text), {});
      },
      'Corrupt',
    ],
    [
      'has one that a stranger signed',
      async () => {
        await far.delete(prefixOf(point) + backupJsonName);
        const forged = makePoint({ id: 'shop-1', signedBy: stranger });
        await far.put(prefixOf(point) + backupJsonName, bytesSource(forged.text), {});
      },
      'SignatureInvalid',
    ],
  ])('is refused while another copy %s', async (_how, damage, type) => {
    days = 8;
    await damage();
    await expect(prune(point)).rejects.toMatchObject({ type });
    expect(await keysOf(near)).toHaveLength(4);
  });
});
