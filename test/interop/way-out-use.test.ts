import { spawnSync } from 'node:child_process';
import { cpSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createFilesSource } from '../../engine/sources/index.ts';
import { filesSource } from '../../policies/policy.ts';
import { entryOf, sealHere } from '../engine/artifact/sealing.ts';
import { type SealedSource, sealSource } from '../engine/sources/conformance.ts';
import { contentOf, makeShelf, namesIn, run, type Shelf, shelveTree } from './way-out-fixture.ts';

/** restore.mjs as people use it: what is asked for, where to, and what cannot be had. */

const MiB = 1024 * 1024;
const isRoot = process.getuid?.() === 0;

let shelf: Shelf;
let sealed: SealedSource;
beforeAll(async () => {
  shelf = await makeShelf();
  ({ sealed } = await shelveTree(shelf));
});
afterAll(() => shelf.remove());

describe('what is wanted', () => {
  test('a folder comes back alone, with the folders above it', async () => {
    const { code, into } = await shelf.restore(sealed.point.id, '--only', 'deep/er');
    expect(code).toBe(0);
    expect(namesIn(into)).toEqual(['deep', 'deep/er', 'deep/er/c']);
  });

  test('a further name comes back with its content, though the first one was not asked for', async () => {
    const { code, into } = await shelf.restore(sealed.point.id, '--only', './deep/other name of a', '--only', 'link/');
    expect(code).toBe(0);
    expect(namesIn(into)).toEqual(['deep', 'deep/other name of a', 'link']);
    expect(readFileSync(path.join(into, 'deep/other name of a')).equals(contentOf('a'))).toBe(true);
  });

  test('what the point does not hold, and points that are not there, are told', async () => {
    for (const ended of [
      await shelf.restore(sealed.point.id, '--only', 'dee'),
      await shelf.restore('docs-99'),
      await shelf.restore('nowhere/latest'),
      await shelf.script('cat', shelf.store, sealed.point.id, 'deep', ...shelf.keys),
      await shelf.script('list', shelf.fresh('no store')),
    ])
      expect({ code: ended.code, said: ended.stderr.startsWith('error: ') }).toEqual({ code: 3, said: true });
  });

  test('a place that holds something, or cannot be made, is not touched', async () => {
    const into = shelf.fresh('full');
    mkdirSync(into);
    writeFileSync(path.join(into, 'mine'), 'x');
    for (const place of [into, path.join(into, 'mine', 'x'), path.join(into, 'no', 'parent'), '/proc/none']) {
      const { code } = await shelf.script('restore', shelf.store, sealed.point.id, '--into', place, ...shelf.keys);
      expect(code).toBe(4);
    }
    expect(readdirSync(into)).toEqual(['mine']);
  });

  test('a command that is misused prints how it is used', async () => {
    for (const args of [
      [],
      ['frobnicate', shelf.store],
      ['restore', shelf.store, 'x'],
      ['list', shelf.store, '--what'],
    ])
      expect((await shelf.script(...args)).code).toBe(2);
    expect(await shelf.script('--help')).toMatchObject({ code: 0, stdout: expect.stringContaining('--only PATH') });
  });

  test('names that would play tricks with a terminal are shown harmless', async () => {
    const point = await sealHere(
      shelf.place,
      async (writer) => {
        await writer.entry(entryOf('', { type: 'directory' }));
        await writer.entry(entryOf('\x1b[2Jgone\u202e'));
        await writer.entry(entryOf(Buffer.of(0x66, 0xff)));
      },
      { format: 'pax-tar' },
    );
    shelf.publish(point);
    const { stdout } = await shelf.script('list', shelf.store, point.id, ...shelf.keys);
    expect(stdout).toContain('\\x1b[2Jgone\\u{202e}\n');
    expect(stdout).toContain('f\\xff\n');
  });
});

test('memory stays small, however large a file is', async () => {
  const bytes = 384 * MiB;
  const point = await sealHere(shelf.place, async (writer) => {
    await writer.entry(entryOf('big', { streamed: true }));
    const chunks = function* () {
      for (let at = 0; at < bytes; at += MiB) yield Buffer.alloc(MiB, `${at} of a long file\n`);
    };
    await writer.stream(Readable.from(chunks(), { objectMode: false }));
  });
  shelf.publish(point);
  const into = shelf.fresh('big');
  const report = shelf.fresh('peak');
  const hook = shelf.fresh('hook');
  // The peak of this memory alone: ru_maxrss begins with what the process that forked (Jest's, large) had held.
  writeFileSync(
    hook,
    `const fs = require('fs');
     process.on('exit', () => fs.writeFileSync(${JSON.stringify(report)}, fs.readFileSync('/proc/self/status', 'utf8')));`,
  );
  const args = ['restore', shelf.store, point.id, '--into', into, ...shelf.keys];
  expect((await run([process.execPath, '--require', hook, shelf.scriptFile, ...args])).code).toBe(0);
  expect(lstatSync(path.join(into, 'big')).size).toBe(bytes);
  const peakKiB = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(report, 'utf8'))?.[1];
  expect(Number(peakKiB) * 1024).toBeLessThan(320 * MiB);
});

describe('what cannot be brought back is named', () => {
  test('where the commands for it are missing', async () => {
    const root = shelf.fresh('odd tree');
    mkdirSync(root);
    for (const name of ['one', 'two']) {
      writeFileSync(path.join(root, name), name);
      expect(spawnSync('setfattr', ['-n', 'user.note', '-v', 'x', path.join(root, name)]).status).toBe(0);
    }
    expect(spawnSync('mkfifo', [path.join(root, 'pipe')]).status).toBe(0);
    const source = createFilesSource(filesSource.parse({ name: 'odd', kind: 'files', path: root }));
    const { point } = await sealSource(shelf.place, source);
    shelf.publish(point);
    const into = shelf.fresh('restored');
    const args = ['restore', shelf.store, point.id, '--into', into, ...shelf.keys];
    const { code, stderr } = await run([process.execPath, shelf.scriptFile, ...args], {
      env: { PATH: '/nonexistent' },
    });
    expect(code).toBe(9);
    expect(stderr).toContain('not restored: extended attributes, for setfattr is missing here: 2 (such as one)');
    expect(stderr).toContain('not restored: a fifo (mkfifo is missing here): 1 (such as pipe)');
    expect(readdirSync(into)).toEqual(['one', 'two']);
  });

  test('where owners are not ours to give', async () => {
    const point = await sealHere(
      shelf.place,
      async (writer) => {
        await writer.entry(entryOf('', { type: 'directory', mode: 0o755 }));
        await writer.entry(entryOf('theirs', { uid: 54_321, gid: 54_321, mode: 0o644 }));
      },
      { format: 'pax-tar' },
    );
    const to = shelf.publish(point);
    // Somebody who is not root, and may read no more than what is given here.
    const open = mkdtempSync('/tmp/way-out-open-');
    try {
      cpSync(to, path.join(open, 'shop', point.id), { recursive: true });
      cpSync(shelf.scriptFile, path.join(open, 'restore.mjs'));
      cpSync(shelf.identityFile, path.join(open, 'identity'));
      spawnSync('chmod', ['-R', 'a+rwX', open]);
      const somebody = isRoot ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : [];
      const args = [
        'restore',
        open,
        point.id,
        '--identity',
        path.join(open, 'identity'),
        '--into',
        path.join(open, 'into'),
      ];
      const { code, stderr } = await run([...somebody, process.execPath, path.join(open, 'restore.mjs'), ...args]);
      expect(stderr).toContain('not restored: owners, which only root may set: 2');
      expect(code).toBe(9);
    } finally {
      rmSync(open, { recursive: true });
    }
  });
});
