import { rmSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createCoordinationActivities } from '../../activities/coordination.ts';
import { lostLinks } from '../../activities/lost-links.ts';
import type { Catalog } from '../../engine/catalog/index.ts';
import type { Store, StoredObject } from '../../engine/stores/index.ts';
import type { BackupPlan } from '../../policies/backup-plan.ts';
import type { ChainPoint } from '../../policies/chain.ts';
import { Failure } from '../../policies/failure.ts';
import { backupJsonName } from '../../policies/recovery-point.ts';
import type { BackupInput } from '../../workflows/contracts.ts';
import { type MadePoint, makePoint, makeStores, prefixOf, publish } from '../engine/catalog/points.ts';
import { policyOf } from '../policies/policies.ts';
import { activityEnvironment } from './environment.ts';

let made: ReturnType<typeof makeStores>;
let points: MadePoint[];

beforeEach(async () => {
  made = makeStores('near', 'far');
  const facts = { path: '/srv/shop' };
  points = [
    makePoint({ id: 'shop-1', facts }),
    makePoint({ id: 'shop-2', facts, parent: 'shop-1' }),
    makePoint({ id: 'shop-3', facts, parent: 'shop-2' }),
  ];
  for (const point of points) for (const store of made.stores) await publish(store, point);
});
afterEach(() => made.remove());

const storeOf = (name: string) => made.stores.find((s) => s.name === name) as Store;

const policy = () =>
  policyOf({
    sources: [{ kind: 'files', name: 'shop', path: '/srv/shop' }],
    copies: made.stores.map(({ name }) => ({ kind: 'directory', name, region: name, path: path.join(made.dir, name) })),
  });

/** By the catalog, newest first: it knows all of the points in both copies. */
function known(): ChainPoint[] {
  const copies = made.stores.map(({ name }) => ({ copy: name, publishedAt: '2026-01-02T03:05:00Z' }));
  return points.toReversed().map(({ backup }) => ({
    backup,
    copies: copies.map((c) => ({ ...c, state: 'verified' as const })),
  }));
}

/** Plans an incremental backup. */
async function plan(): Promise<BackupPlan> {
  const retention = { marks: async () => [], removals: async () => [] };
  const { planBackup } = createCoordinationActivities({
    policy: policy(),
    catalog: { points: async () => known(), retention } as unknown as Catalog,
    store: async (name) => storeOf(name),
    announce: async () => [],
    openRun: async () => null,
  });
  const request: Required<BackupInput> = { source: 'shop', level: 'incremental', classes: ['daily'], anytime: true };
  return activityEnvironment().run(planBackup, request);
}

async function lose(point: MadePoint | undefined, copy: string): Promise<void> {
  if (point) await storeOf(copy).delete(prefixOf(point) + backupJsonName);
}

describe('what a backup is to be built upon', () => {
  test('is the newest point, where every copy of its chain is where the catalog knows it', async () => {
    expect(await plan()).toMatchObject({ level: 'incremental', parent: { pointId: 'shop-3' } });
  });

  test('is an older point, where the newest has vanished from one of the stores', async () => {
    await lose(points[2], 'far');
    expect(await plan()).toMatchObject({ level: 'incremental', parent: { pointId: 'shop-2' } });
  });

  test('is nothing, where what all of them need has vanished: it is a full one then, and says why', async () => {
    await lose(points[0], 'far');
    expect(await plan()).toMatchObject({
      level: 'full',
      parent: null,
      notes: [expect.stringMatching(/shop-3 cannot be built upon, for shop-1 does not lie in far/)],
    });
  });

  test('is what the catalog says, where a store does not answer', async () => {
    rmSync(path.join(made.dir, 'far'), { recursive: true });
    expect(await plan()).toMatchObject({ level: 'incremental', parent: { pointId: 'shop-3' } });
  });

  test('is not waited for, where a store hangs', async () => {
    const heads: Record<string, Store['head']> = {
      near: async (key) => {
        if (key.includes('shop-2')) throw new Failure('ObjectMissing', `${key} is not there.`, { next: 'Look.' });
        return {} as StoredObject;
      },
      far: () => new Promise<never>(() => {}),
    };
    const store = async (name: string) => ({ ...storeOf(name), head: heads[name] as Store['head'] });
    const asked = { source: 'shop', parent: 'shop-3', withinMs: 50 };
    const lost = await activityEnvironment().run(() => lostLinks({ policy: policy(), store }, known(), asked));
    expect(lost).toEqual([{ pointId: 'shop-2', copy: 'near' }]);
  });
});
