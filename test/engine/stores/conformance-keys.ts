import { describe, expect, test } from '@jest/globals';
import { bytesSource } from '../../../engine/stores/index.ts';
import { all, failureType, keysOf, ownPrefix, pendingOf, put, type StoreUnderTest, textOf } from './fixture.ts';

/** Names that some server, shell or protocol takes for something else. */
const oddNames = [
  'a',
  'a b',
  ' leading and trailing ',
  'a+b',
  'a%20b',
  'a%b',
  'a&b=c;d',
  'a#b?c',
  'a:b@c',
  'quote\'"quote',
  '<tag/>&amp;',
  'back\\slash',
  '~tilde',
  '*[star]{brace}|$HOME`x`',
  '-dash',
  'inner/.hidden',
  'inner/..dots',
  'inner/...',
  'ends.json',
  'ends.json.json',
  'ü',
  'u\u0308',
  '日本語',
  '\u00a0',
  // By UTF-16 code units these two are the other way round.
  '\uff5e full width',
  '😀',
  'x'.repeat(255),
  `${'y'.repeat(200)}/${'z'.repeat(200)}/${'w'.repeat(200)}`,
];

const noKeys = [
  '',
  '/',
  '/a',
  'a/',
  'a//b',
  '.',
  '..',
  '../a',
  'a/../b',
  'a/..',
  './a',
  'a/./b',
  '.probe',
  '.meta/a',
  '.pending/a',
  'a\0b',
  'a\nb',
  'a\u007fb',
  'a\ud800b',
  'a\uffffb',
  'x'.repeat(256),
  `${'日'.repeat(86)}`,
  `${'x'.repeat(255)}/`.repeat(5),
];

const byBytes = (keys: string[]) => [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

/** list, and what may be a key. */
export function describeKeys(under: StoreUnderTest): void {
  describe('keys', () => {
    test('may be any text with sense, and are listed in the order of their bytes', async () => {
      const { store } = under;
      const prefix = ownPrefix();
      const keys = oddNames.map((name) => prefix + name);
      for (const key of keys) await put(store, key, key, { tags: { Lifecycle: 'Archive' } });
      for (const key of keys) {
        expect(await textOf(store, key)).toBe(key);
        expect(await store.head(key)).toMatchObject({ key, bytes: Buffer.byteLength(key) });
        expect(await store.getTags(key)).toEqual({ Lifecycle: 'Archive' });
      }
      const listed = await all(store.list(prefix));
      expect(listed.map((o) => o.key)).toEqual(byBytes(keys));
      for (const { key, bytes } of listed) expect([key, bytes]).toEqual([key, Buffer.byteLength(key)]);
      for (const key of keys) await store.delete(key);
      expect(await keysOf(store, prefix)).toEqual([]);
    });

    test('stand before and after a folder in the order of their bytes, at every depth', async () => {
      const { store } = under;
      const prefix = ownPrefix();
      const names = ['p!q', 'p/0', 'p/z/1', 'p/z!1', 'p/z0', 'p0', 'p-1', 'p', 'P/0', 'p1/a', 'p.json/x'];
      const keys = names.filter((name) => under.fixture.nests || name !== 'p').map((name) => prefix + name);
      for (const key of keys) await put(store, key, '');
      expect(await keysOf(store, prefix)).toEqual(byBytes(keys));
    });

    test('are listed by the beginning of their text, wherever it ends', async () => {
      const { store } = under;
      const prefix = ownPrefix();
      for (const name of ['shop/1/a', 'shop/1/b', 'shop/10/a', 'shop-2/a', 'shop']) {
        if (name !== 'shop' || under.fixture.nests) await put(store, prefix + name, name);
      }
      const named = async (text: string) => (await keysOf(store, prefix + text)).map((k) => k.slice(prefix.length));
      expect(await named('shop/1')).toEqual(['shop/1/a', 'shop/1/b', 'shop/10/a']);
      expect(await named('shop/1/')).toEqual(['shop/1/a', 'shop/1/b']);
      expect(await named('shop-')).toEqual(['shop-2/a']);
      expect(await named('shop/1/a')).toEqual(['shop/1/a']);
      expect(await named('shop/1/a/')).toEqual([]);
      expect(await named('nothing')).toEqual([]);
      expect(await named('.')).toEqual([]);
    });

    test('may be listed while objects come and go', async () => {
      const { store } = under;
      const prefix = ownPrefix();
      for (const name of ['a', 'b/1', 'b/2', 'c']) await put(store, prefix + name, name);
      const seen: string[] = [];
      for await (const { key } of store.list(prefix)) {
        seen.push(key.slice(prefix.length));
        if (seen.length === 1) for (const name of ['b/1', 'b/2']) await store.delete(prefix + name);
      }
      expect([seen[0], seen.at(-1)]).toEqual(['a', 'c']);
    });

    test('are refused when they have no sense, by every method', async () => {
      const { store } = under;
      const kept = await put(store, `${ownPrefix()}kept`, 'kept');
      for (const key of noKeys) {
        const pending = { key, bytes: 1, sha256: bytesSource('x').sha256, token: '' };
        const works = [
          put(store, key, 'x'),
          store.beginPut(key, bytesSource('x'), {}),
          store.completePut(pending),
          store.get(key),
          store.head(key),
          store.copy(key, kept.key),
          store.copy(kept.key, key),
          store.delete(key),
          store.getTags(key),
          store.setTags(key, {}),
        ];
        expect([key, ...(await Promise.all(works.map(failureType)))]).toEqual([
          key,
          ...works.map(() => 'UsageInvalid'),
        ]);
      }
      expect(await store.head(kept.key)).toEqual(kept);
    });

    test('below and above an object are held, or refused without harm to it', async () => {
      const { store, fixture } = under;
      const prefix = ownPrefix();
      const outcome = fixture.nests ? 'it did not fail' : 'ObjectExists';
      const first = await put(store, `${prefix}a/b`, 'first');
      for (const other of ['a', 'a/b/c', 'a/b/c/d']) {
        expect([other, await failureType(put(store, prefix + other, 'x'))]).toEqual([other, outcome]);
        if (!fixture.nests) expect(await failureType(store.head(prefix + other))).toBe('ObjectMissing');
      }
      expect(await store.head(first.key)).toEqual(first);
      expect(await textOf(store, first.key)).toBe('first');
      expect(await pendingOf(store, prefix)).toEqual([]);
    });
  });
}
