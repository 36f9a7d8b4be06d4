import { expect, test } from '@jest/globals';
import type { Entry } from '../../../engine/artifact/index.ts';
import { createUnfinished } from '../../../engine/sources/files/unfinished.ts';

const entryOf = (path: string, more: Partial<Entry> = {}): Entry => ({
  path: Buffer.from(path),
  type: 'symlink',
  mode: 0o777,
  ...{ uid: 1, gid: 2, user: 'a', group: 'b', mtimeNs: '1', ctimeNs: '2', dev: '3', ino: '4', size: 0 },
  ...more,
});

test('what is kept is as it came, in memory of its own', () => {
  const unfinished = createUnfinished();
  const shared = Buffer.from('a/bc/d');
  const entry = entryOf('', { path: shared.subarray(0, 4), link: shared.subarray(5), xattrs: { 'user.x': shared } });
  unfinished.add(entry);
  shared.fill(0);
  const [kept] = unfinished.entries ?? [];
  expect(kept).toEqual(
    entryOf('', {
      path: Uint8Array.from(Buffer.from('a/bc')),
      link: Uint8Array.from(Buffer.from('d')),
      xattrs: { 'user.x': Uint8Array.from(Buffer.from('a/bc/d')) },
    }),
  );
  for (const bytes of [kept?.path, kept?.link, kept?.xattrs?.['user.x']])
    expect(bytes?.buffer.byteLength).toBe(bytes?.length);
});

test('beyond its limit nothing is kept any more', () => {
  const unfinished = createUnfinished(2_000);
  unfinished.add(entryOf('a'));
  unfinished.add(entryOf('b'));
  expect(unfinished.entries?.map((e) => Buffer.from(e.path).toString())).toEqual(['a', 'b']);
  unfinished.add(entryOf('c', { xattrs: { 'user.large': new Uint8Array(1_000) } }));
  unfinished.add(entryOf('d'));
  expect(unfinished.entries).toBeNull();
});
