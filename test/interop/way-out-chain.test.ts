import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { compareTree } from '../../engine/sources/files/compare.ts';
import { createFilesSource } from '../../engine/sources/index.ts';
import { filesSource } from '../../policies/policy.ts';
import { findNode } from '../../scripts/stack/node-versions.ts';
import { noise } from '../engine/artifact/sealing.ts';
import { type SealedSource, sealSource } from '../engine/sources/conformance.ts';
import { makeShelf, run, type Shelf } from './way-out-fixture.ts';

/** restore.mjs on points that need others: those that our own sources seal, on the oldest Node.js that it promises. */

const MiB = 1024 * 1024;
const signal = new AbortController().signal;

let shelf: Shelf;
let node: string;
/** A full point, and two that each need the one before. */
let chain: SealedSource[];
beforeAll(async () => {
  shelf = await makeShelf();
  node = await findNode('20.0.0');
  const root = shelf.fresh('tree');
  mkdirSync(path.join(root, 'sub'), { recursive: true });
  const write = (name: string, bytes: number, seed: number) => writeFileSync(path.join(root, name), noise(bytes, seed));
  const source = createFilesSource(filesSource.parse({ name: 'docs', kind: 'files', path: root }));
  const seal = async (since: SealedSource | null) => {
    const sealed = await sealSource(shelf.place, source, signal, undefined, { since, trusted: [] });
    shelf.publish(sealed.point);
    return sealed;
  };
  for (const name of ['a', 'b', 'sub/c']) write(name, 2.5 * MiB, name.length);
  const full = await seal(null);
  write('b', 1000, 10);
  write('added', 4000, 11);
  const second = await seal(full);
  renameSync(path.join(root, 'a'), path.join(root, 'sub/a'));
  rmSync(path.join(root, 'added'));
  chain = [full, second, await seal(second)];
}, 300_000);
afterAll(() => shelf.remove());

const script = (...args: string[]) => run([node, shelf.scriptFile, ...args]);

describe('of a chain, the script', () => {
  test('verifies and restores every point, without replaying those before it', async () => {
    for (const { point, reader } of chain) {
      expect(await script('verify', shelf.store, point.id, ...shelf.keys)).toMatchObject({ code: 0, stderr: '' });
      const into = shelf.fresh('restored');
      const { code, stderr } = await script('restore', shelf.store, point.id, '--into', into, ...shelf.keys);
      expect({ code, stderr }).toMatchObject({ code: 0 });
      const { examples } = await compareTree(reader, into, signal);
      // It sets times to the microsecond.
      expect(examples.filter((line) => !line.includes('mtimeNs'))).toEqual([]);
    }
  });

  test('says which point is missing', async () => {
    const [full, , last] = chain;
    const folder = path.join(shelf.store, 'docs', full?.point.id ?? '');
    renameSync(folder, `${folder}-away`);
    const { code, stderr } = await script('verify', shelf.store, last?.point.id ?? '', ...shelf.keys);
    renameSync(`${folder}-away`, folder);
    expect(code).toBe(6);
    expect(stderr).toContain(`needs docs/${full?.point.id}`);
  });
});
