import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { removeDamaged } from '../../activities/remove-damaged.ts';
import { holdPoint } from '../../engine/holds/index.ts';
import { readBytes, type Store } from '../../engine/stores/index.ts';
import { Failure } from '../../policies/failure.ts';
import { holdFormat } from '../../policies/hold.ts';
import { makePoint, makeStores, prefixOf, publish, trusted } from '../engine/catalog/points.ts';

const point = makePoint({ id: 'shop-1' });
const part = { kind: 'point', source: 'shop', pointId: 'shop-1' } as const;
const key = `${prefixOf(point)}artifact.bin`;
const tools = { signal: new AbortController().signal, report: () => {} };

let made: ReturnType<typeof makeStores>;
let near: Store;
let far: Store;
beforeEach(async () => {
  made = makeStores('near', 'far');
  [near, far] = made.stores as [Store, Store];
  for (const store of [near, far]) await publish(store, point);
  writeFileSync(path.join(made.dir, 'near', key), 'damaged');
});
afterEach(() => made.remove());

const remove = (store: Store) => removeDamaged([store, far], trusted, { part, keys: [key] }, tools);
const stays = async () => (await readBytes(near, key)).toString();

describe('removing what is damaged', () => {
  test('makes room for what another copy has good', async () => {
    expect(await remove(near)).toEqual([]);
    await expect(stays()).rejects.toMatchObject({ type: 'ObjectMissing' });
    expect(await remove(near)).toEqual([]);
  });

  test('is refused on a legal hold, which says who set it', async () => {
    const note = { format: holdFormat, source: 'shop', point: 'shop-1', operator: 'Ada', reason: 'a lawsuit' } as const;
    await holdPoint(near, point.backup, { ...note, action: 'add', at: '2026-03-01T08:00:00.000Z' });
    expect(await remove(near)).toEqual([{ key, reason: expect.stringContaining('Ada') }]);
    expect(await stays()).toBe('damaged');
  });

  test('is refused while it is locked; it is said until when, and where a good one is', async () => {
    const lockedUntil = new Date(Date.now() + 3_600_000).toISOString();
    const refused = await remove({ ...near, head: async (k) => ({ ...(await near.head(k)), lockedUntil }) });
    expect(refused).toEqual([{ key, reason: expect.stringContaining(`it is locked until ${lockedUntil}`) }]);
    expect(refused[0]?.reason).toContain('far has it good');
    expect(await stays()).toBe('damaged');
    const over = new Date(Date.now() - 3_600_000).toISOString();
    expect(await remove({ ...near, head: async (k) => ({ ...(await near.head(k)), lockedUntil: over }) })).toEqual([]);
  });

  test('that the store refuses for reasons of its own is told, and is no reason to try again', async () => {
    const deny = async () => {
      throw new Failure('StoreDenied', 'no', { next: 'Ask.' });
    };
    const [refused] = await remove({ ...near, delete: deny });
    expect(refused?.reason).toContain('the store lets the retention role not remove it');
  });
});
