import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Store } from '../../../engine/stores/index.ts';
import { describeGets } from './conformance-gets.ts';
import { describeGrowing } from './conformance-growing.ts';
import { describeKeys } from './conformance-keys.ts';
import { describeLocks } from './conformance-locks.ts';
import { describePending } from './conformance-pending.ts';
import { describePuts } from './conformance-puts.ts';
import { keysOf, ownPrefix, pendingOf, put, type StoreFixture, type StoreUnderTest } from './fixture.ts';

/** The contract of engine/stores/store.ts, which every kind keeps. */
export function describeStore(kind: string, build: () => Promise<StoreFixture>): void {
  describe(`the store ${kind}, by its contract,`, () => {
    let store: Store;
    let fixture: StoreFixture;
    beforeAll(async () => {
      fixture = await build();
      store = fixture.open();
    }, 300_000);
    afterAll(async () => fixture?.remove());
    const under: StoreUnderTest = {
      get store() {
        return store;
      },
      get fixture() {
        return fixture;
      },
    };

    test('finds nothing wrong with a place that is there, and writes nothing to see that', async () => {
      await store.check();
      expect(await keysOf(store, '')).toEqual([]);
    });

    test('says truthfully what it has, each time, in every process, and shows nothing of how it found out', async () => {
      expect(await store.capabilities()).toEqual(fixture.has);
      expect(await store.capabilities()).toEqual(fixture.has);
      expect(await fixture.open().capabilities()).toEqual(fixture.has);
      expect(await keysOf(store, '')).toEqual([]);
      expect(await pendingOf(store, '')).toEqual([]);
    });

    test('tells the time by the clock that dates what it stores', async () => {
      const key = `${ownPrefix()}dated`;
      await put(store, key, 'now');
      const stored = Date.parse((await store.head(key)).modifiedAt);
      // Servers tell the second, and keep it for a moment.
      const clock = Date.parse(await store.clock());
      expect(clock).toBeGreaterThan(stored - 5_000);
      expect(clock).toBeLessThan(stored + 3_600_000);
    });

    test('shows one process what another one stored', async () => {
      const key = `${ownPrefix()}shared`;
      await put(store, key, 'seen by all', { metadata: { 'db-name': 'shop' } });
      expect(await fixture.open().head(key)).toEqual(await store.head(key));
    });

    describePuts(under);
    describePending(under);
    describeGrowing(under);
    describeGets(under);
    describeKeys(under);
    describeLocks(under);
  });
}
