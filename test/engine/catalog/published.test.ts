import { rmSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { publishedAt, publishedIn } from '../../../engine/catalog/published.ts';
import { bytesSource, type Store } from '../../../engine/stores/index.ts';
import { placeWayOut } from '../../../engine/way-out/index.ts';
import { backupJsonName } from '../../../policies/recovery-point.ts';
import { makePoint, makeStores, prefixOf, publish, stranger, trusted } from './points.ts';

describe('what counts as a recovery point in a store', () => {
  let place: ReturnType<typeof makeStores>;
  let store: Store;
  beforeEach(() => {
    place = makeStores('onsite');
    store = place.stores[0] as Store;
  });
  afterEach(() => place.remove());

  async function look(): Promise<{ ids: string[]; problems: string[] }> {
    const problems: string[] = [];
    const ids: string[] = [];
    for await (const found of publishedIn({ store, trusted, onProblem: (p) => problems.push(p) }))
      ids.push(found.backup.id);
    return { ids, problems };
  }

  test('finds every published point, in key order, however many there are', async () => {
    const ids = Array.from({ length: 30 }, (_, i) => `shop-${String(i).padStart(2, '0')}`);
    for (const id of ids.toReversed()) await publish(store, makePoint({ id }));
    await expect(look()).resolves.toEqual({ ids, problems: [] });
  });

  test('takes the time of publication from the store', async () => {
    const point = makePoint({ id: 'shop-1' });
    await publish(store, point);
    const { modifiedAt } = await store.head(prefixOf(point) + backupJsonName);
    const found = await publishedAt({ store, trusted, onProblem: () => {} }, 'shop', 'shop-1');
    expect(found?.backup).toEqual(point.backup);
    expect(found?.copy).toMatchObject({
      copy: 'onsite',
      state: 'verified',
      publishedAt: modifiedAt,
      verifiedAt: modifiedAt,
      lockedUntil: null,
      held: false,
    });
  });

  test('passes over an upload that was never finished', async () => {
    const point = makePoint({ id: 'shop-1' });
    for (const [name, bytes] of point.objects) await store.put(prefixOf(point) + name, bytesSource(bytes), {});
    await expect(look()).resolves.toEqual({ ids: [], problems: [] });
  });

  test('passes over the script and the page that lie beside the points', async () => {
    await publish(store, makePoint({ id: 'shop-1' }));
    await placeWayOut(store);
    await publish(store, makePoint({ id: 'a-1', source: 'a' }));
    await expect(look()).resolves.toEqual({ ids: ['a-1', 'shop-1'], problems: [] });
  });

  test('finds nothing where a point of a longer name lies', async () => {
    await publish(store, makePoint({ id: 'shop-10' }));
    await expect(publishedAt({ store, trusted, onProblem: () => {} }, 'shop', 'shop-1')).resolves.toBeNull();
  });

  test.each([
    ['is signed by a stranger', () => publish(store, makePoint({ id: 'shop-1', signedBy: stranger })), /not trusted/],
    [
      'failed its validation',
      () => publish(store, makePoint({ id: 'shop-1', passed: false })),
      /validation had failed/,
    ],
    [
      'lies under another name',
      () => publish(store, makePoint({ id: 'shop-1' }), 'shop/shop-2/'),
      /it is that of shop\/shop-1/,
    ],
    [
      'was changed after it was signed',
      () => {
        const point = makePoint({ id: 'shop-1' });
        return publish(store, { ...point, text: point.text.replace('"entries": 3', '"entries": 4') });
      },
      /changed after it was signed/,
    ],
    [
      'was made up to be the newest for ever',
      () => publish(store, makePoint({ id: 'shop-1', capturedAt: '2099-01-01T00:00:00Z' })),
      /it was captured at 2099-01-01T00:00:00Z, it says, but the store has it since/,
    ],
    ['is not JSON', () => publish(store, { ...makePoint({ id: 'shop-1' }), text: '{' }), /not JSON/],
    [
      'lacks an object',
      async () => {
        await publish(store, makePoint({ id: 'shop-1' }));
        rmSync(path.join(place.dir, 'onsite/shop/shop-1/manifest.bin'));
      },
      /manifest\.bin is missing/,
    ],
    [
      'has an object of another size',
      () => {
        const point = makePoint({ id: 'shop-1' });
        return publish(store, { ...point, objects: new Map([...point.objects, ['key.bin', Buffer.from('short')]]) });
      },
      /key\.bin has 5 bytes/,
    ],
  ])('names a point that %s, and does not count it', async (_why, lay, reason) => {
    await lay();
    await publish(store, makePoint({ id: 'shop-9' }));
    const { ids, problems } = await look();
    expect(ids).toEqual(['shop-9']);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/^onsite\/shop\/shop-\d\/backup\.json does not count: /);
    expect(problems[0]).toMatch(reason);
  });
});
