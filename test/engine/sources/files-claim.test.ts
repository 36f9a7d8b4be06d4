import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { claimFolder, discardRestored, keepRestored, takeOver } from '../../../engine/sources/files/claim.ts';
import { createFilesSource } from '../../../engine/sources/index.ts';
import { filesSource } from '../../../policies/policy.ts';
import { failureOf, makePlace, type Place } from '../artifact/sealing.ts';
import { type SealedSource, sealSource } from './conformance.ts';

let place: Place;
let dir: string;
let sealed: SealedSource;
const at = (...names: string[]) => path.join(dir, ...names);
const signal = new AbortController().signal;

beforeAll(async () => {
  place = await makePlace();
  dir = mkdtempSync(path.join(tmpdir(), 'files-claim-'));
  mkdirSync(at('tree'));
  for (let i = 0; i < 8; i++) writeFileSync(at('tree', `${i}`), Buffer.alloc(300_000, i));
  // A folder that nobody but root may change.
  chmodSync(at('tree'), 0o555);
  sealed = await sealSource(place, source());
});
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await place.remove();
});

const source = () => createFilesSource(filesSource.parse({ name: 'docs', kind: 'files', path: at('tree') }));
const restore = (into: string, job?: string, onProgress = () => {}) =>
  source().restore(sealed.reader, { into, signal, onProgress, ...(job === undefined ? {} : { job }) });

/** The folder as a process that was killed in the middle of its restore leaves it. */
async function killed(name: string): Promise<string> {
  const left = at(name);
  await restore(at(`${name} alive`), 'restore/docs/1', () => {
    if (!existsSync(left)) cpSync(at(`${name} alive`), left, { recursive: true, preserveTimestamps: true });
  });
  return left;
}

describe('what a killed restore has left', () => {
  test('is removed by the next attempt of the same restore, which then restores all', async () => {
    const left = await killed('left');
    expect(readdirSync(left).filter((name) => name.startsWith('.restoring-'))).toHaveLength(1);
    await restore(left, 'restore/docs/1');
    keepRestored(left, 'restore/docs/1');
    expect(readdirSync(left).sort()).toEqual(readdirSync(at('tree')).sort());
    expect(statSync(left).mtimeMs).toBe(statSync(at('tree')).mtimeMs);
    expect((await source().compare(sealed.reader, left, signal)).differences).toEqual([]);
  });

  test('goes when no attempt follows, with the folder where that was made for it, and nothing else goes', async () => {
    const left = await killed('given up');
    await discardRestored(left, 'restore/docs/2');
    expect(readdirSync(left).length).toBeGreaterThan(1);
    for (const _ of [1, 2]) await discardRestored(left, 'restore/docs/1');
    expect(existsSync(left)).toBe(false);
    const into = at('kept');
    await restore(into, 'restore/docs/1');
    keepRestored(into, 'restore/docs/1');
    await discardRestored(into, 'restore/docs/1');
    expect(readdirSync(into).sort()).toEqual(readdirSync(at('tree')).sort());
    const there = at('there before');
    mkdirSync(there);
    claimFolder(there, true, 'restore/docs/1');
    writeFileSync(path.join(there, 'half'), 'half');
    await discardRestored(there, 'restore/docs/1');
    expect(readdirSync(there)).toEqual([]);
  });

  test('is nobody else’s: to every other restore the folder is not empty', async () => {
    const left = await killed('foreign');
    const held = readdirSync(left);
    for (const job of [undefined, 'restore/docs/2']) {
      expect(await failureOf(restore(left, job))).toMatchObject({ type: 'TargetNotEmpty' });
    }
    expect(readdirSync(left)).toEqual(held);
  });
});

describe('what a restore has finished', () => {
  test('is taken as it is by an attempt that comes because nobody heard of it, and goes when it is called off', async () => {
    const into = at('unheard');
    const said = await restore(into, 'restore/docs/1');
    const before = statSync(path.join(into, '3')).ino;
    expect(await restore(into, 'restore/docs/1')).toEqual(said);
    expect(said).toMatchObject({ bytes: 8 * 300_000, entries: 9 });
    expect(statSync(path.join(into, '3')).ino).toBe(before);
    expect(await failureOf(restore(into, 'restore/docs/2'))).toMatchObject({ type: 'TargetNotEmpty' });
    await discardRestored(into, 'restore/docs/1');
    expect(existsSync(into)).toBe(false);
  });

  test('is without a trace of it once it is kept, and touched by no attempt any more', async () => {
    const into = at('whole');
    await restore(into, 'restore/docs/1');
    for (const _ of [1, 2]) keepRestored(into, 'restore/docs/1');
    expect(readdirSync(into).sort()).toEqual(readdirSync(at('tree')).sort());
    expect(statSync(into).mtimeMs).toBe(statSync(at('tree')).mtimeMs);
    expect(statSync(into).mode & 0o7777).toBe(statSync(at('tree')).mode & 0o7777);
    expect(await failureOf(restore(into, 'restore/docs/1'))).toMatchObject({ type: 'TargetNotEmpty' });
    expect((await source().compare(sealed.reader, into, signal)).differences).toEqual([]);
  });
});

test('whoever is not root can mark a folder, too, that its restored mode lets nobody change', async () => {
  const folder = at('locked');
  mkdirSync(folder);
  const isRoot = process.geteuid?.() === 0;
  chmodSync(dir, 0o755);
  if (isRoot) {
    chownSync(folder, 65_534, 65_534);
    process.seteuid?.(65_534);
  }
  try {
    const claim = claimFolder(folder, true, 'job');
    chmodSync(folder, 0o555);
    const { mode, mtimeMs } = statSync(folder);
    await claim.finish({ entries: 1, bytes: 0, warnings: [] }, []);
    expect(readdirSync(folder)).toHaveLength(1);
    keepRestored(folder, 'job');
    expect(readdirSync(folder)).toEqual([]);
    expect(statSync(folder)).toMatchObject({ mode, mtimeMs });
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
});

test('an attempt that was thought dead removes nothing of the one that took its folder over', async () => {
  const folder = at('fought over');
  mkdirSync(folder);
  const first = claimFolder(folder, false, 'job');
  expect(await takeOver(folder, 'job')).toMatchObject({ existed: false });
  const second = claimFolder(folder, true, 'job');
  writeFileSync(path.join(folder, 'restored'), 'by the second');
  await expect(first.finish({ entries: 1, bytes: 1, warnings: [] }, [])).rejects.toThrow(
    'Another attempt of the same restore',
  );
  await first.undo();
  expect(existsSync(path.join(folder, 'restored'))).toBe(true);
  await second.undo();
  expect(readdirSync(folder)).toEqual([]);
});
