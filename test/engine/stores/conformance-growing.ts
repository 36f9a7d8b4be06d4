import { describe, expect, test } from '@jest/globals';
import type { PutProgress } from '../../../engine/stores/store.ts';
import {
  bytesOf,
  content,
  failureType,
  growing,
  ownPrefix,
  pendingOf,
  type StoreUnderTest,
  sha256Of,
} from './fixture.ts';

/** beginPut of a source that is still being written. */
export function describeGrowing(under: StoreUnderTest): void {
  describe('a put whose source still grows', () => {
    test('has all that came once the source has ended, whatever its length, and is not visible before it is completed', async () => {
      const { store, fixture } = under;
      const { partBytes } = fixture;
      for (const length of [0, 1, partBytes - 1, partBytes, partBytes + 1, 3 * partBytes]) {
        const key = `${ownPrefix()}object`;
        const bytes = content(length);
        const source = growing();
        const begun = store.beginPut(key, source, { metadata: { 'db-name': 'shop' } });
        for (let at = 0; at < length; at += 1_000_000) source.grow(bytes.subarray(at, at + 1_000_000));
        source.end();
        const pending = await begun;
        expect(pending).toMatchObject({ key, bytes: length, sha256: sha256Of(bytes) });
        expect(pending.token.length).toBeLessThanOrEqual(1024);
        expect(await failureType(store.head(key))).toBe('ObjectMissing');
        const stored = await fixture.open().completePut(pending);
        expect(stored).toMatchObject({ key, bytes: length, metadata: { 'db-name': 'shop' } });
        expect([null, sha256Of(bytes)]).toContain(stored.sha256);
        expect((await bytesOf(store, key)).equals(bytes)).toBe(true);
        expect(await store.completePut(pending)).toEqual(stored);
        expect(await pendingOf(store, key)).toEqual([]);
      }
    });

    test('sends what is there while more is to come', async () => {
      const { store, fixture } = under;
      const key = `${ownPrefix()}object`;
      const bytes = content(3 * fixture.partBytes);
      const source = growing();
      const arrived = Promise.withResolvers<void>();
      const onProgress = ({ bytesDone }: PutProgress) => {
        if (bytesDone >= 2 * fixture.partBytes) arrived.resolve();
      };
      const begun = store.beginPut(key, source, { onProgress });
      source.grow(bytes.subarray(0, 2 * fixture.partBytes + 5));
      // Ends the test, if it does not come true: the source does not end before it has.
      await Promise.race([arrived.promise, begun]);
      source.grow(bytes.subarray(2 * fixture.partBytes + 5));
      source.end();
      await store.completePut(await begun);
      expect((await bytesOf(store, key)).equals(bytes)).toBe(true);
    });

    test('goes on in another process, while the source still grows or after it has ended', async () => {
      const { store, fixture } = under;
      for (const ended of [false, true]) {
        const key = `${ownPrefix()}object`;
        const bytes = content(4 * fixture.partBytes + 7);
        const first = growing();
        const controller = new AbortController();
        let last: PutProgress | undefined;
        const onProgress = (p: PutProgress) => {
          last = p;
          if (p.bytesDone >= 2 * fixture.partBytes) controller.abort();
        };
        const begun = store.beginPut(key, first, { onProgress, signal: controller.signal });
        first.grow(bytes.subarray(0, 2 * fixture.partBytes + 9));
        await expect(begun).rejects.toThrow(/abort/i);
        const again = growing();
        again.grow(bytes.subarray(0, 2 * fixture.partBytes + 9));
        if (ended) again.grow(bytes.subarray(2 * fixture.partBytes + 9)).end();
        const told: number[] = [];
        const other = fixture.open();
        const resumed = other.beginPut(key, again, {
          resume: last?.resume ?? '',
          onProgress: (p) => told.push(p.bytesDone),
        });
        if (!ended) again.grow(bytes.subarray(2 * fixture.partBytes + 9)).end();
        await other.completePut(await resumed);
        expect((await bytesOf(store, key)).equals(bytes)).toBe(true);
        expect(told.find((b) => b > 0)).toBeGreaterThanOrEqual(fixture.partBytes);
        expect(await pendingOf(store, key)).toEqual([]);
      }
    });

    test('takes nothing over from a source that was begun anew', async () => {
      const { store, fixture } = under;
      const key = `${ownPrefix()}object`;
      const first = growing();
      let resume = '';
      const begun = store.beginPut(key, first, { onProgress: (p) => (resume = p.resume) });
      first.grow(content(4 * fixture.partBytes, 1));
      first.giveUp(new Error('it begins anew'));
      await expect(begun).rejects.toThrow('it begins anew');
      const bytes = content(2 * fixture.partBytes + 3, 2);
      const put = async () => {
        const second = growing();
        second.grow(bytes).end();
        return store.beginPut(key, second, { resume });
      };
      // A store that cannot tell them apart by their beginnings finds out at the end, and begins anew as well.
      const pending = await put().catch(async (error: unknown) => {
        expect(error).toMatchObject({ type: 'ChecksumMismatch' });
        return put();
      });
      await store.completePut(pending);
      expect((await bytesOf(store, key)).equals(bytes)).toBe(true);
      for (const left of await pendingOf(store, key)) await store.abortPut(left);
    });

    test('stores nothing when the source is not what it says at its end', async () => {
      const { store, fixture } = under;
      for (const length of [3, 2 * fixture.partBytes, 2 * fixture.partBytes + 3]) {
        const key = `${ownPrefix()}object`;
        const source = growing();
        const begun = store.beginPut(key, source, {});
        source.grow(content(length)).end(sha256Of(content(length, 9)));
        expect(await failureType(begun)).toBe('ChecksumMismatch');
        expect(await failureType(store.head(key))).toBe('ObjectMissing');
        expect(await pendingOf(store, key)).toEqual([]);
      }
    });

    test('never over another object, and not at all over the same', async () => {
      const { store } = under;
      const key = `${ownPrefix()}object`;
      const same = () => growing().grow(content(1000)).end();
      await store.completePut(await store.beginPut(key, same(), {}));
      const stored = await store.head(key);
      await store.completePut(await store.beginPut(key, same(), {}));
      expect(await store.head(key)).toEqual(stored);
      expect(await failureType(store.beginPut(key, growing().grow(content(1000, 1)).end(), {}))).toBe('ObjectExists');
      expect((await bytesOf(store, key)).equals(content(1000))).toBe(true);
    });
  });
}
