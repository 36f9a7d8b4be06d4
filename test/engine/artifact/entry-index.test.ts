import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { indexEntries } from '../../../engine/artifact/entry-index.ts';
import { type Base, type Block, comparePaths } from '../../../engine/artifact/index.ts';
import { entryOf } from './sealing.ts';

const sha256 = 'ab'.repeat(32);
const stretches = [{ artifact: 2, frameOffset: 1, frameBytes: 2, offset: 3, bytes: 9 }];
/** None to three, of either form. */
const blocksOf = (name: string): Block[] =>
  Array.from({ length: name.length % 4 }, (_, i) =>
    i % 2 === 0
      ? { artifact: 0, frameOffset: i, frameBytes: 5, offset: name.length, bytes: 10, sha256 }
      : { bytes: 9, sha256, pages: 'AAAA', stretches },
  );

/** Some of whose names only differ in a byte that is no text. */
const files = [
  ...Array.from({ length: 600 }, (_, i) => Buffer.from(`f/${String(i * 7919).slice(0, 1 + (i % 5))}-${i}`)),
  Buffer.of(0x66, 0x2f, 0xff),
  Buffer.of(0x66, 0x2f, 0xfe),
];

async function* streamOf<T>(items: T[]): AsyncGenerator<T> {
  yield* items;
}

test.each([16_384, 64, 2])('finds each file in any order, and nothing else, with %d names in memory', async (limit) => {
  const scratchDir = mkdtempSync(path.join(tmpdir(), 'entry-index-'));
  const folders = ['', 'f'].map((name) => entryOf(name, { type: 'directory' }));
  const entries = [...folders, ...files.map((file) => entryOf(file))].sort((a, b) => comparePaths(a.path, b.path));
  const base: Base = {
    id: 'base',
    capturedAt: '',
    facts: {},
    artifacts: [],
    async *entries() {
      for (const entry of entries) {
        yield { ...entry, blocks: streamOf(blocksOf(Buffer.from(entry.path).toString('latin1'))) };
      }
    },
  };
  const index = await indexEntries(base, scratchDir, limit);
  const found = async (file: Buffer) => {
    const blocks: Block[] = [];
    for await (const block of index.blocksOf(file)) blocks.push(block);
    return blocks;
  };
  for (const file of [...files].reverse()) expect(await found(file)).toEqual(blocksOf(file.toString('latin1')));
  for (const other of ['', 'f', 'a', 'f/', 'f/x', 'z']) expect(await found(Buffer.from(other))).toEqual([]);
  await index.close();
  rmSync(scratchDir, { recursive: true });
});
