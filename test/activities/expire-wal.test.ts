import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { createRetentionActivities } from '../../activities/retention.ts';
import { bytesSource, type Store } from '../../engine/stores/index.ts';
import { Failure } from '../../policies/failure.ts';
import { parseWalKey, walKeysPrefix, walRangeKey } from '../../policies/wal-bundle.ts';
import type { WalExpired } from '../../workflows/contracts.ts';
import { makePoint, makeStores, publish, trusted } from '../engine/catalog/points.ts';
import { policyOf } from '../policies/policies.ts';

/** The retention worker's own judgement on WAL, by what lies in two stores whose clocks are forty days ahead. */

let made: ReturnType<typeof makeStores>;
let stores: Store[];
/** Ends of keys that the store `far` lets nobody delete. */
let denied: string[];

beforeEach(() => {
  made = makeStores('near', 'far');
  stores = made.stores;
  denied = [];
});
afterEach(() => made.remove());

const dayMs = 86_400_000;
const later = (store: Store): Store => ({
  ...store,
  clock: async () => new Date(Date.now() + 40 * dayMs).toISOString(),
  delete: async (key) => {
    if (store.name === 'far' && denied.some((part) => key.includes(part))) {
      throw new Failure('StoreDenied', `${key} is locked in far.`, { next: 'Wait.' });
    }
    await store.delete(key);
  },
});

/** By a mark of some days ahead, by which all WAL before a position may go. */
async function expire(from: string, daysAhead = 20): Promise<WalExpired> {
  const policy = policyOf({
    sources: [{ kind: 'postgres-physical', name: 'shop', connection: { host: 'db', user: 'backup' } }],
    retention: { minimumAge: '1d', keepWithin: '1d', keepManual: '90d', pointInTime: '10d', grace: '3d' },
    copies: ['near', 'far'].map((name) => ({
      kind: 'directory',
      name,
      region: name,
      path: path.join(made.dir, name),
    })),
  });
  const { expireWal } = createRetentionActivities({
    policy: { ...policy, keys: { ...policy.keys, trusted } },
    store: async (name) => later(stores[name === 'near' ? 0 : 1] as Store),
  });
  const markedAt = new Date(Date.now() + daysAhead * dayMs).toISOString();
  return new MockActivityEnvironment().run(expireWal, { source: 'shop', mark: { from, markedAt } });
}

const bytes = bytesSource('sealed');
const until = '2026-01-01T00:00:00.000Z';
const range = (start: bigint, end: bigint) => walRangeKey('shop', { timeline: 1, start, end, until }, 'abcdef01');

beforeEach(async () => {
  const facts = { startLsn: '0/300', endLsn: '0/310', timeline: 1 };
  for (const store of stores) {
    await publish(store, makePoint({ id: 'shop-1', facts }));
    for (const [start, end] of [
      [0x100n, 0x200n],
      [0x200n, 0x300n],
      [0x300n, 0x400n],
    ] as const) {
      await store.put(range(start, end), bytes, {});
    }
  }
});

/** Where the ranges begin that are left, in hex. */
async function left(store: Store | undefined): Promise<string[]> {
  const starts: string[] = [];
  if (!store) return starts;
  for await (const { key } of store.list('shop/wal/')) {
    const found = parseWalKey('shop', key);
    if (found?.kind === 'range') starts.push(found.range.start.toString(16));
  }
  return starts;
}

describe('expiring WAL', () => {
  test('removes from all copies what lies before all that is needed, and once more changes nothing', async () => {
    expect(await expire('0/300')).toEqual({ removed: 4, bytes: 4 * bytes.bytes, refused: null });
    for (const store of stores) expect(await left(store)).toEqual(['300']);
    expect(await expire('0/300')).toEqual({ removed: 0, bytes: 0, refused: null });
  });

  test('believes no mark: what a point needs stays, and what is younger than the time of grace', async () => {
    await expire('FF/0');
    for (const store of stores) expect(await left(store)).toEqual(['300']);
    for (const store of stores) await store.put(range(0x80n, 0x100n), bytes, {});
    expect((await expire('FF/0', -1)).removed).toBe(0);
  });

  test('removes nothing where no point is left that shows what is needed', async () => {
    for (const store of stores) await store.delete('shop/shop-1/backup.json');
    expect(await expire('FF/0')).toEqual({ removed: 0, bytes: 0, refused: null });
    for (const store of stores) expect(await left(store)).toEqual(['100', '200', '300']);
  });

  test('leaves no gap where a store refuses: what comes after stays there as well', async () => {
    denied = [range(0x100n, 0x200n)];
    const { removed, refused } = await expire('0/300');
    expect([removed, refused]).toEqual([2, expect.stringContaining('is locked in far')]);
    expect(await left(stores[0])).toEqual(['300']);
    expect(await left(stores[1])).toEqual(['100', '200', '300']);
  });

  test('takes the wrapped keys of a range with it, also those that an interrupted run has left', async () => {
    const keyOf = (start: bigint, end: bigint) => `${walKeysPrefix(range(start, end))}key.2.age`;
    for (const store of stores) {
      for (const [start, end] of [
        [0x80n, 0x100n],
        [0x100n, 0x200n],
        [0x300n, 0x400n],
        [0x400n, 0x500n],
      ] as const)
        await store.put(keyOf(start, end), bytes, {});
    }
    expect(await expire('0/300')).toEqual({ removed: 4, bytes: 4 * bytes.bytes, refused: null });
    for (const store of stores) {
      const keys: string[] = [];
      for await (const { key } of store.list('shop/wal/')) if (key.endsWith('.age')) keys.push(key);
      // Beside what is needed, and beside what is lost there and can be put again.
      expect(keys).toEqual([keyOf(0x300n, 0x400n), keyOf(0x400n, 0x500n)]);
    }
  });

  test('fails, having removed nothing, when a store cannot be read', async () => {
    const [near, far] = stores;
    if (!near || !far) throw new Error('there are two');
    const away = new Failure('StoreUnreachable', 'far does not answer.', { next: 'Look.' });
    stores = [near, { ...far, check: () => Promise.reject(away) }];
    await expect(expire('0/300')).rejects.toMatchObject({ type: 'StoreUnreachable' });
    expect(await left(near)).toEqual(['100', '200', '300']);
  });
});
