import { getEventListeners } from 'node:events';
import { describe, expect, test } from '@jest/globals';
import { readBytes } from '../../../engine/stores/index.ts';
import { bytesOf, content, failureType, ownPrefix, put, type StoreUnderTest } from './fixture.ts';

/** get: ranges, readers that stop, aborts. */
export function describeGets(under: StoreUnderTest): void {
  describe('reading', () => {
    test('gives the bytes of a range, cut at the end of the object', async () => {
      const { store } = under;
      const key = `${ownPrefix()}object`;
      const bytes = content(100_000);
      await put(store, key, bytes);
      const ranges = [
        { offset: 0 },
        { offset: 0, length: 1 },
        { offset: 0, length: 100_000 },
        { offset: 0, length: 200_000 },
        { offset: 1, length: 0 },
        { offset: 99_999 },
        { offset: 99_999, length: 1 },
        { offset: 50_000, length: 25_000 },
        { offset: 99_990, length: Number.MAX_SAFE_INTEGER },
      ];
      for (const { offset, length } of ranges) {
        const got = await bytesOf(store, key, { offset, ...(length === undefined ? {} : { length }) });
        const end = length === undefined ? bytes.length : Math.min(bytes.length, offset + length);
        expect([offset, length, got.equals(bytes.subarray(offset, end))]).toEqual([offset, length, true]);
      }
    });

    test('refuses a range that begins past the end, and what is no range', async () => {
      const { store } = under;
      const key = `${ownPrefix()}object`;
      await put(store, key, 'ten bytes.');
      const ranges = [
        { offset: 10 },
        { offset: 11 },
        { offset: 10, length: 0 },
        { offset: 1_000_000, length: 5 },
        { offset: -1 },
        { offset: 0, length: -1 },
        { offset: 0.5 },
        { offset: Number.NaN },
      ];
      const types = await Promise.all(ranges.map((range) => failureType(store.get(key, range))));
      expect(types).toEqual(ranges.map(() => 'UsageInvalid'));
    });

    test('gives nothing of an empty object, from its beginning, and refuses any other range', async () => {
      const { store } = under;
      const key = `${ownPrefix()}empty`;
      await put(store, key, '');
      expect((await bytesOf(store, key)).length).toBe(0);
      expect((await bytesOf(store, key, { offset: 0 })).length).toBe(0);
      expect((await bytesOf(store, key, { offset: 0, length: 7 })).length).toBe(0);
      expect(await failureType(store.get(key, { offset: 1 }))).toBe('UsageInvalid');
    });

    test('lets readers stop early, as often as they like', async () => {
      const { store, fixture } = under;
      const key = `${ownPrefix()}object`;
      const bytes = content(2 * fixture.partBytes);
      await put(store, key, bytes);
      // More than there are sockets: none of them may stay taken.
      for (let i = 0; i < 80; i++) {
        const stream = await store.get(key);
        for await (const chunk of stream) {
          expect(bytes.subarray(0, (chunk as Buffer).length).equals(chunk as Buffer)).toBe(true);
          break;
        }
        expect(stream.destroyed).toBe(true);
      }
      for (let i = 0; i < 80; i++) (await store.get(key)).destroy();
      expect((await bytesOf(store, key)).equals(bytes)).toBe(true);
    });

    test('lets a slow reader take its time', async () => {
      const { store, fixture } = under;
      const key = `${ownPrefix()}object`;
      const bytes = content(fixture.partBytes + 5);
      await put(store, key, bytes);
      const taken: Buffer[] = [];
      for await (const chunk of await store.get(key)) {
        taken.push(chunk as Buffer);
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(Buffer.concat(taken).equals(bytes)).toBe(true);
    });

    test('stops when its signal is aborted, before or while it reads', async () => {
      const { store, fixture } = under;
      const key = `${ownPrefix()}object`;
      await put(store, key, content(4 * fixture.partBytes));
      await expect(readBytes(store, key, AbortSignal.abort())).rejects.toThrow(/abort/i);
      const controller = new AbortController();
      const reading = (async () => {
        for await (const _ of await store.get(key, undefined, controller.signal)) controller.abort();
      })();
      await expect(reading).rejects.toThrow(/abort/i);
    });

    test('leaves nothing on a signal that lives on', async () => {
      const { store } = under;
      const key = `${ownPrefix()}object`;
      await put(store, key, content(3000));
      const { signal } = new AbortController();
      for (let i = 0; i < 5; i++) await readBytes(store, key, signal);
      for (let i = 0; i < 5; i++) (await store.get(key, { offset: 1 }, signal)).destroy();
      await put(store, `${key} 2`, content(3000), { signal });
      // Streams take their leave on the next turn of the loop.
      await new Promise((resolve) => setImmediate(resolve));
      expect(getEventListeners(signal, 'abort')).toEqual([]);
    });
  });
}
