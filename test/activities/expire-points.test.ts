import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import type { ExpiredPoint } from '../../activities/expire-points.ts';
import { createRetentionActivities } from '../../activities/retention.ts';
import { holdPoint } from '../../engine/holds/index.ts';
import { bytesSource, type Store } from '../../engine/stores/index.ts';
import { Failure } from '../../policies/failure.ts';
import { holdFormat } from '../../policies/hold.ts';
import { backupJsonName } from '../../policies/recovery-point.ts';
import {
  makePoint,
  makeStores,
  type PointChoices,
  prefixOf,
  publish,
  stranger,
  trusted,
} from '../engine/catalog/points.ts';
import { policyOf } from '../policies/policies.ts';

let made: ReturnType<typeof makeStores>;
let near: Store;
let far: Store;
/** Objects that the store lets nobody delete, by the end of their key. */
let denied: string[];
/** Told by the store, by the end of a key: locked for a year. */
let locked: string[];
/** Days by which the clocks of the stores are ahead of the time at which everything was put. */
let days: { near: number; far: number };

beforeEach(() => {
  made = makeStores('near', 'far');
  [near, far] = made.stores as [Store, Store];
  [denied, locked] = [[], []];
  days = { near: 200, far: 200 };
});
afterEach(() => made.remove());

const dayMs = 86_400_000;
const ahead = (name: string) => new Date(Date.now() + days[name as 'near' | 'far'] * dayMs).toISOString();

/** The store as it is those days later, with `shop-2` a day younger than `shop-1`; it locks and denies as it is told. */
const later = (store: Store): Store => ({
  ...store,
  clock: async () => ahead(store.name),
  head: async (key) => {
    const found = await store.head(key);
    const isLocked = store.name === 'far' && locked.some((end) => key.endsWith(end));
    const age = Number(/shop-(\d)/.exec(key)?.[1] ?? 0);
    const modifiedAt = new Date(Date.parse(found.modifiedAt) + age * dayMs).toISOString();
    return { ...found, modifiedAt, lockedUntil: isLocked ? new Date(Date.now() + 565 * dayMs).toISOString() : null };
  },
  delete: async (key) => {
    if (store.name === 'far' && denied.some((end) => key.endsWith(end))) {
      throw new Failure('StoreDenied', `${key} is locked in far.`, { next: 'Wait.' });
    }
    await store.delete(key);
  },
});

const activities = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') });
async function expire(...pointIds: string[]): Promise<ExpiredPoint[]> {
  const policy = policyOf({
    sources: [{ kind: 'files', name: 'shop', path: '/srv/shop' }],
    // Nothing but the newest stays by itself.
    retention: { minimumAge: '1d', keepWithin: '1s', keepManual: '1d' },
    copies: [
      { kind: 'directory', name: 'near', region: 'here', path: path.join(made.dir, 'near') },
      { kind: 'directory', name: 'far', region: 'there', path: path.join(made.dir, 'far') },
    ],
  });
  const { expirePoints } = createRetentionActivities({
    policy: { ...policy, keys: { ...policy.keys, trusted } },
    store: async (name) => later(name === 'near' ? near : far),
  });
  return activities.run(expirePoints, { source: 'shop', pointIds });
}

/** Published in both. */
async function published(...choices: PointChoices[]) {
  const points = choices.map((c) => makePoint(c));
  for (const point of points) for (const store of [near, far]) await publish(store, point);
  return points;
}

async function idsIn(store: Store): Promise<string[]> {
  const ids: string[] = [];
  for await (const { key } of store.list('')) if (key.endsWith(backupJsonName)) ids.push(key.split('/')[1] ?? '');
  return ids;
}
async function keysIn(store: Store, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}
const gone = (pointId: string) => ({ pointId, gone: ['near', 'far'], refused: null });

describe('expiring points', () => {
  test('removes every object from every copy, and once more changes nothing', async () => {
    const [old] = await published({ id: 'shop-1' }, { id: 'shop-2' });
    expect(await expire('shop-1')).toEqual([gone('shop-1')]);
    expect(await expire('shop-1')).toEqual([gone('shop-1')]);
    for (const store of [near, far]) {
      expect(await idsIn(store)).toEqual(['shop-2']);
      expect(await keysIn(store, old ? prefixOf(old) : '')).toEqual([]);
    }
  });

  test('finishes what was interrupted, in whatever state', async () => {
    const [half, bare] = await published({ id: 'shop-1' }, { id: 'shop-2' }, { id: 'shop-3' });
    if (!half || !bare) throw new Error('nothing was published');
    for (const key of await keysIn(near, prefixOf(half))) await near.delete(key);
    for (const store of [near, far]) await store.delete(prefixOf(bare) + backupJsonName);
    expect(await expire('shop-1', 'shop-2')).toEqual([gone('shop-1'), gone('shop-2')]);
    for (const store of [near, far]) expect(await keysIn(store, prefixOf(bare))).toEqual([]);
    expect(await idsIn(far)).toEqual(['shop-3']);
  });

  test('believes nobody: what the policy keeps is refused, with the reason', async () => {
    await published({ id: 'shop-1' }, { id: 'shop-2' });
    expect(await expire('shop-2')).toEqual([
      { pointId: 'shop-2', gone: [], refused: expect.stringContaining('it stays: the newest point that counts') },
    ]);
    days = { near: 0, far: 0 };
    expect((await expire('shop-1'))[0]?.refused).toContain('younger than 1d');
    expect(await idsIn(near)).toEqual(['shop-1', 'shop-2']);
  });

  test('goes by the clock that is behind', async () => {
    await published({ id: 'shop-1' }, { id: 'shop-2' });
    days = { near: 200, far: 0 };
    expect((await expire('shop-1'))[0]?.refused).toContain('younger than 1d');
  });

  test('never removes what something needs that stays, also when only the stores know of it', async () => {
    await published({ id: 'shop-1' }, { id: 'shop-2', parent: 'shop-1', level: 'incremental' });
    expect((await expire('shop-1'))[0]?.refused).toBe('it stays: needed by shop-2');
    expect(await idsIn(far)).toEqual(['shop-1', 'shop-2']);
  });

  test('never removes what something needs that could not be removed', async () => {
    await published({ id: 'shop-1' }, { id: 'shop-2', parent: 'shop-1', level: 'incremental' }, { id: 'shop-3' });
    denied = [`shop-2/${backupJsonName}`];
    const outcomes = await expire('shop-2', 'shop-1');
    expect(outcomes.map((o) => o.refused)).toEqual([
      expect.stringContaining('is locked in far'),
      'it stays: needed by shop-2',
    ]);
    expect(outcomes[0]?.gone).toEqual(['near']);
    expect(await idsIn(far)).toEqual(['shop-1', 'shop-2', 'shop-3']);
  });

  test('removes a whole chain, its end first', async () => {
    await published({ id: 'shop-1' }, { id: 'shop-2', parent: 'shop-1', level: 'incremental' }, { id: 'shop-3' });
    expect(await expire('shop-1')).toMatchObject([{ refused: 'it stays: needed by shop-2' }]);
    expect(await expire('shop-2', 'shop-1')).toEqual([gone('shop-2'), gone('shop-1')]);
  });

  test('refuses what any one store locks, and goes on with the others', async () => {
    await published({ id: 'shop-1' }, { id: 'shop-2' }, { id: 'shop-3' });
    locked = [`shop-1/${backupJsonName}`];
    const [first, second] = await expire('shop-1', 'shop-2');
    expect(first?.refused).toContain('it stays: locked until');
    expect(second).toEqual(gone('shop-2'));
    expect(await idsIn(near)).toEqual(['shop-1', 'shop-3']);
  });

  test.each(['near', 'far'])('refuses what is held in %s alone', async (name) => {
    const [point] = await published({ id: 'shop-1' }, { id: 'shop-2' });
    if (!point) throw new Error('nothing was published');
    const note = { format: holdFormat, source: 'shop', point: 'shop-1', operator: 'Ada', reason: 'a lawsuit' } as const;
    const at = '2026-03-01T08:00:00.000Z';
    await holdPoint(name === 'near' ? near : far, point.backup, { ...note, action: 'add', at });
    expect((await expire('shop-1'))[0]?.refused).toBe('it stays: held: by Ada since 2026-03-01 08:00:00Z: a lawsuit');
  });

  test('leaves for a person what does not count', async () => {
    const forged = makePoint({ id: 'shop-1', signedBy: stranger });
    for (const store of [near, far]) await publish(store, forged);
    await published({ id: 'shop-2' });
    expect((await expire('shop-1'))[0]?.refused).toContain('does not count; a person must look');
    expect(await idsIn(near)).toEqual(['shop-1', 'shop-2']);
  });

  test('leaves for a person what the copies describe differently', async () => {
    const [a, b] = [makePoint({ id: 'shop-1' }), makePoint({ id: 'shop-1', facts: { other: 1 } })];
    await publish(near, a);
    await publish(far, b);
    await published({ id: 'shop-2' });
    expect((await expire('shop-1'))[0]?.refused).toContain('it did not pass validation');
  });

  test('removes nothing while a store is away, for what is needed may lie there', async () => {
    await published({ id: 'shop-1' }, { id: 'shop-2' });
    const away = near;
    near = { ...near, check: () => Promise.reject(new Failure('StoreUnreachable', 'near is away', { next: 'Wait.' })) };
    await expect(expire('shop-1')).rejects.toMatchObject({ type: 'StoreUnreachable', nonRetryable: false });
    expect(await idsIn(away)).toEqual(['shop-1', 'shop-2']);
    expect(await idsIn(far)).toEqual(['shop-1', 'shop-2']);
  });

  test('does nothing to another source', async () => {
    await published({ id: 'shop-2' });
    await near.put('other/shop-1/thing', bytesSource('theirs'), {});
    expect(await expire('shop-1')).toEqual([gone('shop-1')]);
    expect(await keysIn(near, 'other/')).toHaveLength(1);
  });
});
