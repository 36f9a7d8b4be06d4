import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Block, comparePaths, type Entry, sortedEntries } from '../../../engine/artifact/index.ts';
import { entryOf } from './sealing.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'sorted-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const blockOf = (frameOffset: number): Block => ({
  artifact: 0,
  frameOffset,
  frameBytes: 7,
  offset: 3,
  bytes: 5,
  sha256: 'ab'.repeat(32),
});

async function sorted(items: [Entry, Block[]][], memoryMax: number): Promise<[Entry, Block[]][]> {
  const out: [Entry, Block[]][] = [];
  const writer = {
    entry: async (entry: Entry) => {
      out.push([entry, []]);
    },
    block: async (block: Block) => {
      out.at(-1)?.[1].push(block);
    },
  };
  const scratch = mkdtempSync(path.join(dir, 'scratch-'));
  const entries = sortedEntries(writer, scratch, memoryMax);
  for (const [entry, blocks] of items) {
    entries.add(entry, blocks);
    await entries.relieve();
  }
  await entries.finish();
  return out;
}

describe('entries that come in any order', () => {
  test('go on in order with their blocks, whatever the names and however little memory there is', async () => {
    const paths = fc.uniqueArray(fc.uint8Array({ minLength: 1, maxLength: 12 }), { selector: (p) => String(p) });
    await fc.assert(
      fc.asyncProperty(paths, fc.integer({ min: 1, max: 5000 }), async (names, memoryMax) => {
        const items = names.map((name, i): [Entry, Block[]] => [
          entryOf(name, { size: i, mtimeNs: `${i}`, ctimeNs: `${i}` }),
          Array.from({ length: i % 4 }, (_, n) => blockOf(i * 10 + n)),
        ]);
        const expected = items.toSorted(([a], [b]) => comparePaths(a.path, b.path));
        const plain = (list: [Entry, Block[]][]) => list.map(([e, b]) => [{ ...e, path: [...e.path] }, b]);
        expect(plain(await sorted(items, memoryMax))).toEqual(plain(expected));
      }),
      { numRuns: 40 },
    );
  });

  test('wait on the scratch disk when they are many', async () => {
    const items = Array.from({ length: 50 }, (_, i): [Entry, Block[]] => [entryOf(`f${i * 37}`), [blockOf(i)]]);
    await sorted(items, 10_000);
    const [scratch] = readdirSync(dir);
    expect(readdirSync(path.join(dir, scratch ?? '')).length).toBeGreaterThan(2);
  });
});
