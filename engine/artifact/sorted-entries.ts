import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { stretchesOf } from './blocks.ts';
import { comparePaths, decodeEntry, encodeEntry } from './manifest.ts';
import { onStaging } from './sealed-file.ts';
import type { Block, Entry } from './types.ts';
import type { ArtifactWriter } from './writer.ts';

/**
 * The manifest's entries when they come in an order that is not ours, e.g. that of a server: sorted by an external merge
 * sort, so that memory stays at some 12 MiB whatever their number, and no single sort takes long.
 */
export interface SortedEntries {
  add(entry: Entry, blocks: Block[]): void;
  /** To be awaited now and then: moves what has gathered to the scratch disk once it is much. */
  relieve(): Promise<void>;
  /** Passes everything on to the writer, in order. */
  finish(): Promise<void>;
}

interface Item {
  entry: Entry;
  blocks: Block[];
}

const memoryBytesMax = 12 * 1024 * 1024;
const chunkLength = 256 * 1024;
/** What one of each takes up, roughly. */
const entryBytes = 600;
const blockBytes = 250;
const stretchBytes = 100;

/** @param scratchDir private to this call; the caller removes it */
export function sortedEntries(
  writer: Pick<ArtifactWriter, 'entry' | 'block'>,
  scratchDir: string,
  memoryMax = memoryBytesMax,
): SortedEntries {
  let batch: Item[] = [];
  let weight = 0;
  const runs: string[] = [];
  const sort = () => batch.sort((a, b) => comparePaths(a.entry.path, b.entry.path));

  return {
    add(entry, blocks) {
      batch.push({ entry, blocks });
      weight += entryBytes + blocks.reduce((sum, b) => sum + blockBytes + stretchesOf(b).length * stretchBytes, 0);
    },
    async relieve() {
      if (weight < memoryMax) return;
      const file = path.join(scratchDir, `entries-${runs.length}`);
      sort();
      await onStaging(file, () => writeFile(file, lines(batch), { mode: 0o600, flag: 'wx' }));
      runs.push(file);
      batch = [];
      weight = 0;
    },
    async finish() {
      for await (const { entry, blocks } of merge([...runs.map(readRun), fromMemory(sort())])) {
        await writer.entry(entry);
        for (const block of blocks) await writer.block(block);
      }
      batch = [];
    },
  };
}

/** As text, in pieces that are worth a write each. */
function* lines(items: Item[]): Generator<string> {
  let text = '';
  for (const { entry, blocks } of items) {
    text += `${encodeEntry(entry)}\t${JSON.stringify(blocks)}\n`;
    if (text.length < chunkLength) continue;
    yield text;
    text = '';
  }
  if (text !== '') yield text;
}

async function* readRun(file: string): AsyncGenerator<Item> {
  let rest = '';
  for await (const chunk of createReadStream(file, { encoding: 'utf8', highWaterMark: 256 * 1024 })) {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    for (const line of parts) {
      // JSON writes a tab within a text as \t.
      const tab = line.indexOf('\t');
      yield { entry: decodeEntry(JSON.parse(line.slice(0, tab))), blocks: JSON.parse(line.slice(tab + 1)) };
    }
  }
}

async function* fromMemory(items: Item[]): AsyncGenerator<Item> {
  yield* items;
}

async function* merge(sources: AsyncGenerator<Item>[]): AsyncGenerator<Item> {
  const heads: { source: AsyncGenerator<Item>; item: Item }[] = [];
  const advance = async (source: AsyncGenerator<Item>) => {
    const next = await source.next();
    if (!next.done) heads.push({ source, item: next.value });
  };
  for (const source of sources) await advance(source);
  while (heads.length > 0) {
    let least = 0;
    for (let i = 1; i < heads.length; i++) {
      if (comparePaths(pathOf(heads[i]), pathOf(heads[least])) < 0) least = i;
    }
    const [head] = heads.splice(least, 1);
    if (!head) return;
    yield head.item;
    await advance(head.source);
  }
}

function pathOf(head: { item: Item } | undefined): Uint8Array {
  return head?.item.entry.path ?? new Uint8Array();
}
