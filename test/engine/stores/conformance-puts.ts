import { describe, expect, test } from '@jest/globals';
import { type Store, verifyObject } from '../../../engine/stores/index.ts';
import { isFailure } from '../../../policies/failure.ts';
import {
  all,
  bytesOf,
  content,
  failureType,
  keysOf,
  ownPrefix,
  pendingOf,
  put,
  type StoreUnderTest,
  sha256Of,
  textOf,
  troubled,
} from './fixture.ts';

/** put, copy, delete, tags and metadata. */
export function describePuts(under: StoreUnderTest): void {
  /** One of several that put at once: a server that falters then is asked once more. */
  const putBy = (store: Store, key: string, bytes: Buffer) =>
    put(store, key, bytes).catch((error: unknown) => {
      if (!under.fixture.falters || !isFailure(error, 'StoreUnreachable')) throw error;
      return put(store, key, bytes);
    });

  describe('putting', () => {
    test.each<[string, (part: number) => number]>([
      ['no bytes', () => 0],
      ['one byte', () => 1],
      ['a byte less than a part', (part) => part - 1],
      ['exactly a part', (part) => part],
      ['a byte more than a part', (part) => part + 1],
      ['exactly two parts', (part) => 2 * part],
      ['two parts and a bit', (part) => 2 * part + 4321],
    ])('stores %s, and gives them back', async (_, length) => {
      const { store, fixture } = under;
      const bytes = content(length(fixture.partBytes));
      const key = `${ownPrefix()}object`;
      const before = Date.now();
      const stored = await put(store, key, bytes);
      expect(stored).toMatchObject({ key, bytes: bytes.length, sha256: sha256Of(bytes) });
      // Servers tell whole seconds.
      expect(Date.parse(stored.modifiedAt)).toBeGreaterThanOrEqual(before - 1000);
      expect(Date.parse(stored.modifiedAt)).toBeLessThanOrEqual(Date.now() + 1000);
      expect(await store.head(key)).toEqual(stored);
      expect((await bytesOf(store, key)).equals(bytes)).toBe(true);
      await verifyObject(store, key, { bytes: bytes.length, sha256: sha256Of(bytes) });
      expect(await pendingOf(store, key)).toEqual([]);
    });

    test('keeps metadata, whatever their text', async () => {
      const { store, fixture } = under;
      const metadata = {
        'backup-date': '2026-01-31T02:00:00.000Z',
        'db-name': ' Bücher & "Läden"\n50 % 日本 ',
        empty: '',
        percent: '100%25 %zz',
      };
      for (const bytes of [3, fixture.partBytes + 1]) {
        const key = `${ownPrefix()}object`;
        await put(store, key, content(bytes), { metadata });
        expect((await store.head(key)).metadata).toEqual(metadata);
      }
    });

    test('keeps tags, and replaces all of them', async () => {
      const { store, fixture } = under;
      const tags = { Lifecycle: 'Archive', 'team name': 'a+b = c/d:e@f_g.h-i' };
      for (const bytes of [3, fixture.partBytes + 1]) {
        const key = `${ownPrefix()}object`;
        const stored = await put(store, key, content(bytes), { tags, metadata: { 'db-name': 'shop' } });
        expect(await store.getTags(key)).toEqual(tags);
        await store.setTags(key, { Lifecycle: 'Keep' });
        expect(await store.getTags(key)).toEqual({ Lifecycle: 'Keep' });
        if (fixture.untags !== false) {
          await store.setTags(key, {});
          expect(await store.getTags(key)).toEqual({});
        }
        expect(await store.head(key)).toEqual(stored);
      }
    });

    test('never replaces another object, of whatever length', async () => {
      const { store, fixture } = under;
      const key = `${ownPrefix()}object`;
      const stored = await put(store, key, 'first', { metadata: { 'db-name': 'shop' } });
      for (const other of ['other', '', content(fixture.partBytes + 1)]) {
        expect(await failureType(put(store, key, other, { metadata: { 'db-name': 'x' } }))).toBe('ObjectExists');
      }
      expect(await store.head(key)).toEqual(stored);
      expect(await textOf(store, key)).toBe('first');
      expect(await pendingOf(store, key)).toEqual([]);
    });

    test('takes the same bytes again, and leaves the object as it was', async () => {
      const { store, fixture } = under;
      for (const bytes of [0, 3, fixture.partBytes + 1]) {
        const key = `${ownPrefix()}object`;
        const stored = await put(store, key, content(bytes), { metadata: { 'db-name': 'shop' } });
        expect(await put(store, key, content(bytes), { metadata: { 'db-name': 'other' } })).toEqual(stored);
        expect(await pendingOf(store, key)).toEqual([]);
      }
    });

    test('lets exactly one of several win that put different bytes under one key at once', async () => {
      const { store, fixture } = under;
      for (const bytes of [1000, 2 * fixture.partBytes]) {
        const key = `${ownPrefix()}object`;
        const stores = [store, fixture.open(), fixture.open()];
        const ends = await Promise.allSettled(stores.map((s, i) => putBy(s, key, content(bytes, i))));
        const winners = ends.flatMap((end, i) => (end.status === 'fulfilled' ? [i] : []));
        const losers = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason.type ?? end.reason] : []));
        expect({ winners: winners.length, losers }).toEqual({ winners: 1, losers: ['ObjectExists', 'ObjectExists'] });
        expect((await bytesOf(store, key)).equals(content(bytes, winners[0]))).toBe(true);
        expect((await store.head(key)).sha256).toBe(sha256Of(content(bytes, winners[0])));
        expect(await pendingOf(store, key)).toEqual([]);
      }
    });

    test('lets all of several win that put the same bytes under one key at once', async () => {
      const { store, fixture } = under;
      for (const bytes of [1000, 2 * fixture.partBytes]) {
        const key = `${ownPrefix()}object`;
        const stores = [store, fixture.open(), fixture.open()];
        const facts = await Promise.all(stores.map((s) => putBy(s, key, content(bytes))));
        expect(facts.map((f) => f.sha256)).toEqual(stores.map(() => sha256Of(content(bytes))));
        expect((await bytesOf(store, key)).equals(content(bytes))).toBe(true);
        expect(await pendingOf(store, key)).toEqual([]);
      }
    });

    test('stores nothing of bytes that are not as promised', async () => {
      const { store, fixture } = under;
      for (const length of [1000, fixture.partBytes + 1000]) {
        const bytes = content(length);
        const prefix = ownPrefix();
        for (const promise of [{ sha256: sha256Of(content(1)) }, { bytes: length - 1 }, { bytes: length + 1 }]) {
          const lying = troubled({ bytes, promise });
          expect([promise, await failureType(store.put(`${prefix}object`, lying, {}))]).toEqual([
            promise,
            'ChecksumMismatch',
          ]);
        }
        expect(await keysOf(store, prefix)).toEqual([]);
        expect(await pendingOf(store, prefix)).toEqual([]);
      }
    });

    test('passes on what broke the source, and shows nothing of it', async () => {
      const { store, fixture } = under;
      for (const length of [200_000, fixture.partBytes * 2]) {
        const prefix = ownPrefix();
        const breaking = troubled({ bytes: content(length), breaksAt: length - 1 });
        await expect(store.put(`${prefix}object`, breaking, {})).rejects.toThrow('the source broke');
        expect(await keysOf(store, prefix)).toEqual([]);
        expect(await failureType(store.head(`${prefix}object`))).toBe('ObjectMissing');
      }
    });

    test('tells its progress up to the last byte, never backwards', async () => {
      const { store, fixture } = under;
      for (const bytes of [0, 3, 2 * fixture.partBytes + 1]) {
        const told: number[] = [];
        const totals = new Set<number>();
        await put(store, `${ownPrefix()}object`, content(bytes), {
          onProgress: (p: { bytesDone: number; bytesTotal: number }) => {
            told.push(p.bytesDone);
            totals.add(p.bytesTotal);
          },
        });
        expect(told.at(-1)).toBe(bytes);
        expect(told).toEqual([...told].sort((a, b) => a - b));
        expect([...totals]).toEqual([bytes]);
      }
    });
  });

  describe('copying', () => {
    test('makes an equal object, with metadata and tags', async () => {
      const { store, fixture } = under;
      for (const bytes of [0, 3, fixture.partBytes * 2 + 1]) {
        const prefix = ownPrefix();
        const metadata = { 'db-name': 'Bücher', 'backup-date': '2026-01-31' };
        const tags = { Lifecycle: 'Archive' };
        const from = await put(store, `${prefix}from`, content(bytes), { metadata, tags });
        const to = await store.copy(`${prefix}from`, `${prefix}to ü+%?#`);
        expect(to).toMatchObject({ bytes, sha256: from.sha256, metadata });
        expect((await bytesOf(store, to.key)).equals(content(bytes))).toBe(true);
        expect(await store.getTags(to.key)).toEqual(tags);
        await store.delete(`${prefix}from`);
        expect((await bytesOf(store, to.key)).equals(content(bytes))).toBe(true);
        expect(await pendingOf(store, prefix)).toEqual([]);
      }
    });

    test('never replaces another object, and takes an equal one for done', async () => {
      const { store } = under;
      const prefix = ownPrefix();
      await put(store, `${prefix}a`, 'one');
      const other = await put(store, `${prefix}b`, 'two');
      const equal = await put(store, `${prefix}c`, 'one');
      expect(await failureType(store.copy(`${prefix}a`, `${prefix}b`))).toBe('ObjectExists');
      expect(await store.head(`${prefix}b`)).toEqual(other);
      expect(await store.copy(`${prefix}a`, `${prefix}c`)).toEqual(equal);
      expect(await store.copy(`${prefix}a`, `${prefix}a`)).toEqual(await store.head(`${prefix}a`));
      expect(await pendingOf(store, prefix)).toEqual([]);
    });
  });

  describe('deleting', () => {
    test('removes the object with all that goes with it, and may be repeated', async () => {
      const { store } = under;
      const prefix = ownPrefix();
      await put(store, `${prefix}a/b`, 'old', { metadata: { 'db-name': 'shop' }, tags: { Lifecycle: 'Archive' } });
      await store.delete(`${prefix}a/b`);
      await store.delete(`${prefix}a/b`);
      await store.delete(`${prefix}never/was`);
      expect(await failureType(store.head(`${prefix}a/b`))).toBe('ObjectMissing');
      expect(await all(store.list(prefix))).toEqual([]);
      const again = await put(store, `${prefix}a/b`, 'new');
      expect(again.metadata).toEqual({});
      expect(await textOf(store, `${prefix}a/b`)).toBe('new');
      expect(await store.getTags(`${prefix}a/b`)).toEqual({});
    });

    test('touches nothing but the object', async () => {
      const { store } = under;
      const prefix = ownPrefix();
      for (const key of ['ab', 'a/b', 'a.b', 'a b']) await put(store, prefix + key, key);
      await store.delete(`${prefix}a`);
      await store.delete(`${prefix}a/b/c`);
      await store.delete(`${prefix}ab`);
      expect(await keysOf(store, prefix)).toEqual(['a b', 'a.b', 'a/b'].map((key) => prefix + key));
    });

    test('says that what is not there is not there', async () => {
      const { store } = under;
      const key = `${ownPrefix()}nowhere`;
      const works = [
        store.head(key),
        store.get(key),
        store.get(key, { offset: 1 }),
        store.copy(key, `${key}2`),
        store.getTags(key),
        store.setTags(key, { Lifecycle: 'Archive' }),
      ];
      expect(await Promise.all(works.map(failureType))).toEqual(works.map(() => 'ObjectMissing'));
    });
  });
}
