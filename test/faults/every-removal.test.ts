import { cpSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/common';
import { createRetentionActivities } from '../../activities/retention.ts';
import type { Store } from '../../engine/stores/index.ts';
import { backupJsonName } from '../../policies/recovery-point.ts';
import { activityEnvironment } from '../activities/environment.ts';
import { makePoint, makeStores, prefixOf, publish, trusted } from '../engine/catalog/points.ts';
import { policyOf } from '../policies/policies.ts';
import { Faults, type Kind } from './every-call/faults.ts';

/** One fault at every call that removing makes of its stores, in turn. */

type Retention = ReturnType<typeof createRetentionActivities>;

interface Removal {
  remove(retention: Retention): Promise<unknown>;
  /** What is there in the end, by store. */
  left: Record<'near' | 'far', string[]>;
}

const removals: Record<string, Removal> = {
  'expiring a chain, the child first': {
    remove: ({ expirePoints }) =>
      activityEnvironment().run(expirePoints, { source: 'shop', pointIds: ['shop-2', 'shop-1'] }),
    left: { near: ['shop-3'], far: ['shop-3'] },
  },
  'pruning a copy that the other store holds as well': {
    remove: ({ pruneCopy }) =>
      activityEnvironment().run(pruneCopy, { source: 'shop', pointId: 'shop-2', copy: 'near' }),
    left: { near: ['shop-1', 'shop-3'], far: ['shop-1', 'shop-2', 'shop-3'] },
  },
};

const objectsOf = async (store: Store, prefix: string) => {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key.slice(prefix.length));
  return keys;
};

/** Points that exist in a store; throws where one lacks an object or the one that it is built upon. */
async function wholePoints(store: Store): Promise<string[]> {
  const whole: string[] = [];
  for (const point of points) {
    const there = await objectsOf(store, prefixOf(point));
    if (!there.includes(backupJsonName)) continue;
    const missing = [...point.objects.keys()].filter((name) => !there.includes(name));
    if (missing.length > 0) throw new Error(`${point.backup.id} in ${store.name} lacks ${missing.join()}`);
    const { id, parent } = point.backup;
    if (parent !== null && !whole.includes(parent)) throw new Error(`${id} in ${store.name} has lost ${parent}`);
    whole.push(id);
  }
  return whole;
}

const points = [
  makePoint({ id: 'shop-1' }),
  makePoint({ id: 'shop-2', parent: 'shop-1' }),
  makePoint({ id: 'shop-3' }),
];
/** Published once: each removal is tried on a copy of these folders. */
const published = makeStores('near', 'far');
beforeAll(async () => {
  for (const point of points) for (const store of published.stores) await publish(store, point);
});
afterAll(() => published.remove());

/** Removes with attempts as Temporal makes them, one call going wrong; returns what was called. */
async function removeOnce({ remove, left }: Removal, planned: { call: number; kind: Kind } | null): Promise<string[]> {
  const made = makeStores('near', 'far');
  const faults = new Faults(planned && { layer: 'disk', ...planned });
  try {
    cpSync(published.dir, made.dir, { recursive: true, preserveTimestamps: true });
    const policy = policyOf({
      sources: [{ kind: 'files', name: 'shop', path: '/srv/shop' }],
      retention: { minimumAge: '1d', keepWithin: '1s', keepManual: '1d' },
      copies: made.stores.map(({ name }) => ({
        ...{ kind: 'directory', name, region: name, path: path.join(made.dir, name) },
        ...(name === 'near' ? { pruneAfter: '7d' } : {}),
      })),
    });
    const yearsAhead = async () => new Date(Date.now() + 800 * 86_400_000).toISOString();
    const retention = createRetentionActivities({
      policy: { ...policy, keys: { ...policy.keys, trusted } },
      store: async (name) => {
        const store = faults.disk(made.stores.find((s) => s.name === name) as Store);
        // Old enough to go, and the third is the newest.
        const head: Store['head'] = async (key) => {
          const found = await store.head(key);
          const seconds = Number(/shop-(\d)/.exec(key)?.[1] ?? 0);
          return { ...found, modifiedAt: new Date(Date.parse(found.modifiedAt) + seconds * 86_400_000).toISOString() };
        };
        return { ...store, name, kind: 'directory', clock: yearsAhead, head };
      },
    });
    for (let attempt = 1; ; attempt++) {
      try {
        await remove(retention);
        break;
      } catch (error) {
        if (!(error instanceof ApplicationFailure) || error.nonRetryable || attempt === 3) throw error;
        for (const store of made.stores) await wholePoints(store);
      }
    }
    if (planned && faults.struck === null) throw new Error('the call did not come');
    const found = await Promise.all(made.stores.map(async (s) => [s.name, await wholePoints(s)]));
    expect(Object.fromEntries(found)).toEqual(left);
    for (const store of made.stores) {
      const gone = points.filter((p) => !left[store.name as 'near' | 'far'].includes(p.backup.id));
      for (const point of gone) expect(await objectsOf(store, prefixOf(point))).toEqual([]);
    }
    return faults.calls.disk;
  } finally {
    made.remove();
  }
}

describe.each(Object.entries(removals))('%s', (_what, removal) => {
  test('comes to its end whatever call fails, or loses its answer; at no moment is a point there in part, or without its parent', async () => {
    const calls = await removeOnce(removal, null);
    for (const [call, name] of calls.entries()) {
      const kinds: Kind[] = name.startsWith('list') ? ['error', 'lost reply', 'partial'] : ['error', 'lost reply'];
      for (const kind of kinds) {
        await removeOnce(removal, { call, kind }).catch((error: unknown) => {
          throw new Error(`${kind} at ${name}, call ${call}: ${String(error)}`, { cause: error });
        });
      }
    }
    expect(calls.filter((name) => name.startsWith('delete')).length).toBeGreaterThan(2);
  });
});
