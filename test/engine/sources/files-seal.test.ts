import {
  appendFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createFilter, walk } from '../../../engine/sources/files/walk.ts';
import { createFilesSource } from '../../../engine/sources/index.ts';
import { filesSource } from '../../../policies/policy.ts';
import { makePlace, type Place } from '../artifact/sealing.ts';
import { beforeReading, type SealedSource, sealSource } from './conformance.ts';

let place: Place;
let dir: string;
beforeAll(async () => {
  place = await makePlace();
  dir = mkdtempSync(path.join(tmpdir(), 'files-seal-'));
});
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await place.remove();
});

const signal = new AbortController().signal;
const onProgress = () => {};
const at = (...names: string[]) => path.join(dir, ...names);
const sourceOf = (root: string, more: Record<string, unknown> = {}) =>
  createFilesSource(filesSource.parse({ name: 'docs', kind: 'files', path: root, ...more }));

function tree(name: string, files: Record<string, string>): string {
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(path.dirname(at(name, file)), { recursive: true });
    writeFileSync(at(name, file), content);
  }
  return at(name);
}

async function pathsOf({ reader }: SealedSource): Promise<string[]> {
  const paths: string[] = [];
  for await (const entry of reader.entries()) paths.push(Buffer.from(entry.path).toString());
  return paths;
}

const isReading = (name: string, happens: (file: string) => void) => (file: string) => {
  if (path.basename(file) === name) happens(file);
};

describe('globs', () => {
  test.each([
    ['a/b.txt', [], [], 'yes'],
    ['a/b.txt', ['a'], [], 'yes'],
    ['a/b/c.txt', ['a/*'], [], 'yes'],
    ['a', ['a/*.txt'], [], 'below'],
    ['a/.b.txt', ['**/*.txt'], [], 'yes'],
    ['a/b.txt', [], ['a'], 'no'],
    ['a/b/c', ['a/b'], ['**/c'], 'no'],
    ['node_modules/x/y', [], ['**/node_modules'], 'no'],
    ['x/node_modules/y', [], ['**/node_modules'], 'no'],
    ['modules', [], ['**/node_modules'], 'yes'],
  ])('say of %s with include %j and exclude %j: %s', (name, include, exclude, verdict) => {
    expect(createFilter(include, exclude)(name)).toBe(verdict);
  });

  test('choose what is sealed, with the folders above', async () => {
    const root = tree('globs', { 'a/keep.txt': '1', 'a/drop.log': '2', 'b/c/keep.txt': '3', 'cache/keep.txt': '4' });
    const sealed = await sealSource(place, sourceOf(root, { include: ['**/*.txt'], exclude: ['cache'] }));
    expect(await pathsOf(sealed)).toEqual(['', 'a', 'a/keep.txt', 'b', 'b/c', 'b/c/keep.txt']);
  });
});

describe('a walk', () => {
  test('stays on its file system when told so', async () => {
    const names: string[] = [];
    // /dev has file systems of its own below it wherever there is a Linux.
    for await (const { entry } of walk({ root: '/dev', oneFileSystem: true, onUnreadable: 'warn', warn: () => {} })) {
      names.push(Buffer.from(entry.path).toString());
    }
    expect(names).toContain('pts');
    expect(names).not.toContain('pts/ptmx');
  });

  test('leaves sockets out, and says so', async () => {
    const root = tree('socket', { a: '1' });
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path.join(root, 'sock'), resolve));
    const sealed = await sealSource(place, sourceOf(root));
    server.close();
    expect(await pathsOf(sealed)).toEqual(['', 'a']);
    expect(sealed.result.warnings).toEqual([`skipped the socket ${root}/sock`]);
  });

  test('refuses a path that is no folder, and one that is not there', async () => {
    const root = tree('plain', { file: '1' });
    await expect(sourceOf(path.join(root, 'file')).probe()).rejects.toMatchObject({ type: 'SourceMissing' });
    await expect(sourceOf(path.join(root, 'none')).probe()).rejects.toMatchObject({ type: 'SourceMissing' });
  });
});

describe('a file that changes while it is read', () => {
  test('is read again, and is as it was at last', async () => {
    const root = tree('once', { a: 'a', b: 'old', c: 'c' });
    let changes = 0;
    const sealed = await sealSource(place, sourceOf(root), signal, (writer) =>
      beforeReading(
        writer,
        isReading('b', (file) => changes++ === 0 && appendFileSync(file, ' and new')),
      ),
    );
    expect(sealed.result).toMatchObject({ warnings: [], content: { unstable: 0 } });
    expect(await pathsOf(sealed)).toEqual(['', 'a', 'b', 'c']);
    expect((await sourceOf(root).compare(sealed.reader, root, signal)).differences).toEqual([]);
  });

  test('every time is kept with a mark and a warning, or fails the backup, as the policy says', async () => {
    const root = tree('always', { a: 'a', b: 'old' });
    const seal = (onUnstable: string) =>
      sealSource(place, sourceOf(root, { onUnstable }), signal, (writer) =>
        beforeReading(
          writer,
          isReading('b', (file) => appendFileSync(file, '+')),
        ),
      );
    const sealed = await seal('warn');
    expect(sealed.result.content.unstable).toBe(1);
    expect(sealed.result.warnings).toEqual([expect.stringContaining(`${root}/b changed every time`)]);
    const unstable: string[] = [];
    for await (const entry of sealed.reader.entries())
      if (entry.unstable) unstable.push(Buffer.from(entry.path).toString());
    expect(unstable).toEqual(['b']);
    const workDir = mkdtempSync(at('work-'));
    const checks = await sourceOf(root).testRestore(sealed.reader, { workDir, signal, onProgress });
    expect(checks.map((c) => c.passed)).toEqual([true, true]);
    await expect(seal('fail')).rejects.toMatchObject({
      type: 'SourceChanged',
      message: expect.stringContaining(`${root}/b`),
    });
  });

  test('and vanishes is left out, and its other names keep the content', async () => {
    const root = tree('vanishing', { a: 'content', 'z/last': 'z' });
    linkSync(at('vanishing/a'), at('vanishing/m'));
    linkSync(at('vanishing/a'), at('vanishing/n'));
    const sealed = await sealSource(place, sourceOf(root), signal, (writer) =>
      beforeReading(
        writer,
        isReading('a', (file) => rmSync(file)),
      ),
    );
    expect(sealed.result.warnings).toEqual([`left out ${root}/a, which vanished while it was read`]);
    expect(await pathsOf(sealed)).toEqual(['', 'm', 'n', 'z', 'z/last']);
    const into = at('vanishing back');
    await sourceOf(root).restore(sealed.reader, { into, signal, onProgress });
    const { differences } = await sourceOf(root).compare(sealed.reader, into, signal);
    expect(differences).toEqual([]);
  });

  test('and is replaced by another is read as that one', async () => {
    const root = tree('replaced', { b: 'old', 'new/b': 'another' });
    let first = true;
    const sealed = await sealSource(place, sourceOf(root, { exclude: ['new'] }), signal, (writer) =>
      beforeReading(writer, (file) => {
        if (first) renameSync(at('replaced/new/b'), file);
        first = false;
      }),
    );
    expect(sealed.result.warnings).toEqual([]);
    expect((await sealed.reader.content('b').toArray()).toString()).toBe('another');
  });
});

describe('sealing', () => {
  test('keeps no more frames under way than the writer allows, whatever the tree is made of', async () => {
    const root = tree('empties', Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`${i}`, ''])));
    for (let i = 0; i < 300; i++) linkSync(at('empties/0'), at(`empties/${'long name '.repeat(20)}${i}`));
    let underWay = 0;
    let most = 0;
    const frames = { count: 0 };
    await sealSource(place, sourceOf(root), signal, (writer) => ({
      ...writer,
      async frame(pieces) {
        frames.count++;
        most = Math.max(most, ++underWay);
        return writer.frame(pieces).finally(() => underWay--);
      },
    }));
    expect(frames.count).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(4);
  });

  test('that fails leaves nothing behind', async () => {
    const root = tree('failing', { a: 'a', b: 'b' });
    const failing = sealSource(place, sourceOf(root), signal, (writer) =>
      beforeReading(writer, () => {
        throw new Error('no more');
      }),
    );
    await expect(failing).rejects.toThrow('no more');
    const points = readdirSync(path.join(place.dir, 'docs'));
    const last = points.sort((a, b) => Number(a.split('-')[1]) - Number(b.split('-')[1])).at(-1) ?? '';
    expect(readdirSync(path.join(place.dir, 'docs', last))).toEqual([]);
  });
});
