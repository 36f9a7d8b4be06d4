import { describe, expect, test } from '@jest/globals';
import { bytesSource } from '../../../engine/stores/index.ts';
import { content, failureType, keysOf, ownPrefix, pendingOf, put, type StoreUnderTest, textOf } from './fixture.ts';

/** Whole seconds: servers keep no more. */
const inHours = (hours: number) => new Date(Math.ceil(Date.now() / 1000) * 1000 + hours * 3_600_000).toISOString();

/** lock and hold, where the server has them; and what is said where it has not. */
export function describeLocks(under: StoreUnderTest): void {
  describe('locks and holds', () => {
    test('keep an object from being deleted from the moment it is put, or are refused before anything is stored', async () => {
      const { store, fixture } = under;
      const until = inHours(24);
      for (const length of [10, 2 * fixture.partBytes]) {
        for (const mode of ['governance', 'compliance'] as const) {
          const key = `${ownPrefix()}object`;
          const putting = put(store, key, content(length), { lock: { mode, until } });
          if (!fixture.has.lock) {
            expect(await failureType(putting)).toBe('CapabilityMissing');
            const beginning = store.beginPut(key, bytesSource(content(length)), { lock: { mode, until } });
            expect(await failureType(beginning)).toBe('CapabilityMissing');
            expect([...(await keysOf(store, key)), ...(await pendingOf(store, key))]).toEqual([]);
            continue;
          }
          const stored = await putting;
          expect(stored.lockedUntil).toBe(until);
          expect(await failureType(store.delete(key))).toBe('StoreDenied');
          expect(await store.head(key)).toEqual(stored);
        }
      }
    });

    test('are put on an object that is there, a longer lock over a shorter one', async () => {
      const { store, fixture } = under;
      const key = `${ownPrefix()}object`;
      await put(store, key, 'yearly');
      if (!fixture.has.lock) {
        expect(await failureType(store.lock(key, 'compliance', inHours(24)))).toBe('CapabilityMissing');
        await store.delete(key);
        return;
      }
      expect((await store.head(key)).lockedUntil).toBeNull();
      for (const hours of [24, 48]) {
        const until = inHours(hours);
        await store.lock(key, 'compliance', until);
        expect((await store.head(key)).lockedUntil).toBe(until);
      }
      expect(await failureType(store.delete(key))).toBe('StoreDenied');
      expect(await textOf(store, key)).toBe('yearly');
    });

    test('last no shorter than was asked, by no part of a second', async () => {
      const { store, fixture } = under;
      const key = `${ownPrefix()}object`;
      const until = inHours(24).replace('.000Z', '.001Z');
      const putting = put(store, key, 'yearly', { lock: { mode: 'compliance', until } });
      if (!fixture.has.lock) {
        expect(await failureType(putting)).toBe('CapabilityMissing');
        return;
      }
      expect(Date.parse((await putting).lockedUntil ?? '')).toBeGreaterThanOrEqual(Date.parse(until));
      const longer = inHours(48).replace('.000Z', '.999Z');
      await store.lock(key, 'compliance', longer);
      expect(Date.parse((await store.head(key)).lockedUntil ?? '')).toBeGreaterThanOrEqual(Date.parse(longer));
    });

    test('are put on an equal object that was there before without one', async () => {
      const { store, fixture } = under;
      const key = `${ownPrefix()}object`;
      await put(store, key, 'yearly');
      const again = put(store, key, 'yearly', { lock: { mode: 'compliance', until: inHours(24) } });
      if (!fixture.has.lock) {
        expect(await failureType(again)).toBe('CapabilityMissing');
        return;
      }
      expect((await again).lockedUntil).not.toBeNull();
      expect(await failureType(store.delete(key))).toBe('StoreDenied');
    });

    test('hold an object until the hold is taken off', async () => {
      const { store, fixture } = under;
      const key = `${ownPrefix()}object`;
      await put(store, key, 'evidence');
      if (!fixture.has.lock) {
        expect(await failureType(store.hold(key, true))).toBe('CapabilityMissing');
        expect((await store.head(key)).held).toBe(false);
        return;
      }
      await store.hold(key, true);
      expect((await store.head(key)).held).toBe(true);
      expect(await failureType(store.delete(key))).toBe('StoreDenied');
      expect(await textOf(store, key)).toBe('evidence');
      await store.hold(key, false);
      expect((await store.head(key)).held).toBe(false);
      await store.delete(key);
      expect(await failureType(store.head(key))).toBe('ObjectMissing');
    });
  });
}
