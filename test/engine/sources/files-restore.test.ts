import { execFileSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { blockOf, type Entry } from '../../../engine/artifact/index.ts';
import { restoreTree } from '../../../engine/sources/files/restore.ts';
import { createFilesSource } from '../../../engine/sources/index.ts';
import { filesSource } from '../../../policies/policy.ts';
import { entryOf, failureOf, makePlace, openHere, type Place, sealHere } from '../artifact/sealing.ts';
import { type SealedSource, sealSource } from './conformance.ts';
import { makeNastyTree } from './nasty-tree.ts';

let place: Place;
let dir: string;
beforeAll(async () => {
  place = await makePlace();
  dir = mkdtempSync(path.join(tmpdir(), 'files-restore-'));
});
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await place.remove();
});

const signal = new AbortController().signal;
const onProgress = () => {};
const sourceOf = (root: string) => createFilesSource(filesSource.parse({ name: 'docs', kind: 'files', path: root }));
const at = (...names: string[]) => path.join(dir, ...names);

describe('a restore of chosen paths', () => {
  let sealed: SealedSource;
  beforeAll(async () => {
    mkdirSync(at('tree/a/deep'), { recursive: true });
    mkdirSync(at('tree/b'));
    writeFileSync(at('tree/a/deep/one.txt'), 'one', { mode: 0o640 });
    writeFileSync(at('tree/a/two.log'), 'two');
    linkSync(at('tree/a/deep/one.txt'), at('tree/b/same.txt'));
    linkSync(at('tree/a/deep/one.txt'), at('tree/b/same too.txt'));
    writeFileSync(at('tree/b/.hidden.txt'), '');
    sealed = await sealSource(place, sourceOf(at('tree')));
  });
  let serial = 0;
  async function restore(...paths: string[]) {
    const into = at(`into-${++serial}`);
    const result = await sourceOf(at('tree')).restore(sealed.reader, { into, paths, signal, onProgress });
    return { into, result, held: readdirSync(into, { recursive: true, encoding: 'utf8' }).sort() };
  }

  test('makes the folders above a match, as they were', async () => {
    const { into, held, result } = await restore('a/deep/*.txt');
    expect(held).toEqual(['a', 'a/deep', 'a/deep/one.txt']);
    expect(result).toMatchObject({ entries: 1, bytes: 3, warnings: [] });
    expect(statSync(path.join(into, 'a')).mtimeMs).toBe(statSync(at('tree/a')).mtimeMs);
    expect(statSync(path.join(into, 'a')).mode).toBe(statSync(at('tree/a')).mode);
  });

  test('takes all below a folder that matches, also what begins with a dot', async () => {
    expect((await restore('b')).held).toEqual(['b', 'b/.hidden.txt', 'b/same too.txt', 'b/same.txt']);
  });

  test('gives the content of a hard link whose first name was not asked for to the next one', async () => {
    const { into } = await restore('b/same*');
    expect(readFileSync(path.join(into, 'b/same.txt'), 'utf8')).toBe('one');
    expect(statSync(path.join(into, 'b/same.txt')).mode & 0o777).toBe(0o640);
    expect(statSync(path.join(into, 'b/same.txt')).ino).toBe(statSync(path.join(into, 'b/same too.txt')).ino);
    expect(statSync(path.join(into, 'b/same.txt')).nlink).toBe(2);
  });

  test('keeps hard links whose first name was asked for as well', async () => {
    const { into, result } = await restore('**/one.txt', 'b/same.txt');
    expect(statSync(path.join(into, 'b/same.txt')).ino).toBe(statSync(path.join(into, 'a/deep/one.txt')).ino);
    expect(result.bytes).toBe(3);
  });

  test('says so when nothing matches', async () => {
    const { held, result } = await restore('nothing/*');
    expect(held).toEqual([]);
    expect(result.warnings).toEqual([expect.stringContaining('matches nothing/*')]);
  });
});

describe('a restore', () => {
  test('leaves holes where holes were', async () => {
    makeNastyTree(at('nasty'));
    const sealed = await sealSource(place, sourceOf(at('nasty')));
    const into = at('nasty back');
    await sourceOf(at('nasty')).restore(sealed.reader, { into, signal, onProgress });
    expect(statSync(path.join(into, 'all hole'))).toMatchObject({ size: 3 * 1024 * 1024 + 7, blocks: 0 });
    expect(statSync(path.join(into, 'sparse')).blocks * 512).toBeLessThan(64 * 1024);
  });

  test('that can keep nothing of what it read is the same: the manifest is read once more', async () => {
    const sealed = await sealSource(place, sourceOf(at('nasty')));
    const into = at('nasty without keeping');
    await restoreTree(sealed.reader, { into, signal, onProgress }, { keptBytes: 0 });
    const listed = (folder: string) =>
      execFileSync('find', ['.', '-printf', '%p %y %m %U %G %s %T@ %l\n'], { cwd: folder, encoding: 'latin1' });
    expect(listed(into)).toBe(listed(at('nasty back')));
  });

  test('that is aborted half way leaves nothing, and keeps the folder that was there', async () => {
    mkdirSync(at('many'));
    for (let i = 0; i < 40; i++) writeFileSync(at('many', `${i}`), Buffer.alloc(500_000, i));
    const sealed = await sealSource(place, sourceOf(at('many')));
    mkdirSync(at('there'));
    for (const into of [at('there'), at('not there')]) {
      const controller = new AbortController();
      const restore = sourceOf(at('many')).restore(sealed.reader, {
        into,
        signal: controller.signal,
        onProgress: () => controller.abort(),
      });
      await expect(restore).rejects.toMatchObject({ name: 'AbortError' });
    }
    expect(readdirSync(at('there'))).toEqual([]);
    expect(existsSync(at('not there'))).toBe(false);
  });

  test.each(['/proc/no/folder', '/dev/null/x', '/dev/null'])(
    'names the target %s, which cannot be used',
    async (into) => {
      const sealed = await sealSource(place, sourceOf(at('there')));
      const failure = await failureOf(sourceOf(at('there')).restore(sealed.reader, { into, signal, onProgress }));
      expect(failure).toMatchObject({ type: 'TargetUnusable', message: expect.stringContaining(into) });
    },
  );
});

describe('a manifest of somebody who means harm', () => {
  const root = entryOf('', { type: 'directory', mode: 0o755 });
  const folder = (name: string) => entryOf(name, { type: 'directory', mode: 0o755 });
  const link = (name: string, to: string) => entryOf(name, { type: 'symlink', link: Buffer.from(to) });
  const hard = (name: string, to: string) => entryOf(name, { type: 'hardlink', link: Buffer.from(to) });

  async function restoreOf(entries: Entry[]) {
    const outside = mkdtempSync(at('outside-'));
    writeFileSync(path.join(outside, 'victim'), 'untouched', { mode: 0o600 });
    const before = lstatSync(path.join(outside, 'victim'));
    const into = path.join(outside, 'into');
    const named = entries.map((e) => (e.link?.toString() === 'OUTSIDE' ? { ...e, link: Buffer.from(outside) } : e));
    const sealed = await sealHere(
      place,
      async (writer) => {
        for (const entry of named) await writer.entry(entry);
      },
      { format: 'pax-tar' },
    );
    const reader = await openHere(place, sealed);
    const failure = await failureOf(sourceOf(dir).restore(reader, { into, signal, onProgress }));
    expect(readdirSync(outside)).toEqual(['victim']);
    expect(lstatSync(path.join(outside, 'victim'))).toMatchObject({ mode: before.mode, nlink: 1, size: before.size });
    return failure;
  }

  test.each<[string, Entry[]]>([
    ['climbs out', [root, folder('..'), entryOf('../victim')]],
    ['climbs out further in', [root, folder('a'), entryOf('a/../../victim')]],
    ['begins at the root', [root, entryOf('/tmp/x')]],
    ['hides a NUL', [root, entryOf('a\0b')]],
    ['writes through a symbolic link', [root, link('a', 'OUTSIDE'), entryOf('a/victim')]],
    ['writes through one link of two', [root, link('a', '.'), link('b', 'OUTSIDE'), entryOf('b/new')]],
    ['makes a folder through a symbolic link', [root, link('a', 'OUTSIDE'), folder('a/new')]],
    ['names things without their folder', [root, entryOf('a/b')]],
    ['makes the tree itself a link', [link('', 'OUTSIDE')]],
    ['has no root', [entryOf('a')]],
    ['links to a file outside', [root, hard('a', '../victim')]],
    ['links a file to itself', [root, hard('a', 'a')]],
    ['links two files to each other', [root, hard('a', 'b'), hard('b', 'a')]],
    ['has a symbolic link to nowhere', [root, link('a', '')]],
    ['links to a file through a symbolic link', [root, link('a', 'OUTSIDE'), hard('b', 'a/victim')]],
  ])('that %s is refused, and nothing outside is touched', async (_, entries) => {
    expect(await restoreOf(entries)).toMatchObject({
      type: 'Corrupt',
      message: expect.stringContaining('The manifest names'),
    });
  });
});

describe('a manifest whose blocks do not make up its files', () => {
  test.each([
    ['lacks some', 7000],
    ['has too many', 4999],
  ])('since it %s, is damaged: nothing is left behind', async (_, size) => {
    const sealed = await sealHere(
      place,
      async (writer) => {
        const frame = await writer.frame([{ kind: 'bytes', bytes: Buffer.alloc(5000, 'x'), hash: true }]);
        await writer.entry(entryOf('', { type: 'directory', mode: 0o755 }));
        await writer.entry(entryOf('short', { size }));
        for (const piece of frame.pieces) await writer.block(blockOf(frame, piece));
      },
      { format: 'pax-tar' },
    );
    const into = at(`into ${size}`);
    const reader = await openHere(place, sealed);
    expect(await failureOf(sourceOf(dir).restore(reader, { into, signal, onProgress }))).toMatchObject({
      type: 'Corrupt',
      message: `The blocks of short hold 5000 bytes, its entry names ${size}.`,
    });
    expect(lstatSync(into, { throwIfNoEntry: false })).toBeUndefined();
  });
});

describe('a comparison', () => {
  let sealed: SealedSource;
  const tree = () => at('compared');
  beforeAll(async () => {
    mkdirSync(tree());
    for (const name of ['a', 'b', 'c', 'd']) writeFileSync(path.join(tree(), name), Buffer.alloc(2_100_000, name));
    symlinkSync('a', path.join(tree(), 'l'));
    sealed = await sealSource(place, sourceOf(tree()));
  });
  let serial = 0;
  async function differences(change: (into: string) => void): Promise<string[]> {
    const into = at(`compared-${++serial}`);
    await sourceOf(tree()).restore(sealed.reader, { into, signal, onProgress });
    const { atime, mtime } = statSync(into);
    change(into);
    const { utimesSync } = await import('node:fs');
    utimesSync(into, atime, mtime);
    const compared = await sourceOf(tree()).compare(sealed.reader, into, signal);
    return compared.differences.filter((d) => !/mtimeNs/.test(d));
  }

  test('names what is missing, what is too much, and what is something else', async () => {
    const found = await differences((into) => {
      rmSync(path.join(into, 'a'));
      writeFileSync(path.join(into, 'bb'), '');
      rmSync(path.join(into, 'c'));
      mkdirSync(path.join(into, 'c'));
    });
    expect(found).toEqual(['a is missing', 'bb is there but was not captured', 'c is a directory, not a file']);
  });

  test('finds one byte, a shorter file, another mode, and a link that points elsewhere', async () => {
    const { chmodSync, openSync, writeSync, closeSync, truncateSync } = await import('node:fs');
    const found = await differences((into) => {
      const fd = openSync(path.join(into, 'a'), 'r+');
      writeSync(fd, 'x', 2_000_000);
      closeSync(fd);
      truncateSync(path.join(into, 'b'), 2_099_999);
      chmodSync(path.join(into, 'd'), 0o601);
      rmSync(path.join(into, 'l'));
      symlinkSync('b', path.join(into, 'l'));
    });
    expect(found).toEqual([
      'a differs within the 524288 bytes from 1572864',
      'b: size is 2099999, not 2100000',
      'b differs within the 2848 bytes from 2097152',
      expect.stringMatching(/^d: mode is/),
      'l points elsewhere',
    ]);
  });
});
