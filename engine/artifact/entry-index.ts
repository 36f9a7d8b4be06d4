import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { comparePaths } from './manifest.ts';
import type { Base } from './reference.ts';
import { onStaging } from './sealed-file.ts';
import type { Block } from './types.ts';

/**
 * The files of an earlier point and their blocks, to be asked for in whatever order a server sends its own: laid out on
 * the scratch disk, so that memory stays at some MiB whatever their number.
 */
export interface EntryIndex {
  /** The blocks of the file at a path, in order; none when it is no file there. */
  blocksOf(path: Uint8Array): AsyncGenerator<Block>;
  close(): Promise<void>;
}

/** Names held in memory; of more, only every so-manieth is, and the others are looked for behind it. */
const heldMax = 16_384;
const chunkBytes = 256 * 1024;

interface Held {
  path: Buffer;
  /** Where its line lies in the file of names. */
  at: number;
}

/** @param scratchDir private to this call; the caller removes it. Throws StagingFull. */
export async function indexEntries(base: Base, scratchDir: string, limit = heldMax): Promise<EntryIndex> {
  const names = await createScratch(path.join(scratchDir, 'known-names'));
  const blocks = await createScratch(path.join(scratchDir, 'known-blocks'));
  let held: Held[] = [];
  let stride = 1;
  let files = 0;
  for await (const entry of base.entries()) {
    if (entry.type !== 'file') continue;
    if (files % stride === 0) held.push({ path: Buffer.from(entry.path), at: names.bytes() });
    files++;
    if (held.length > limit) {
      held = held.filter((_, i) => i % 2 === 0);
      stride *= 2;
    }
    const at = blocks.bytes();
    for await (const block of entry.blocks) await blocks.write(`${JSON.stringify(block)}\n`);
    const name = Buffer.from(entry.path).toString('base64');
    await names.write(`${name} ${at} ${blocks.bytes() - at}\n`);
  }
  await names.finish();
  await blocks.finish();
  return {
    async *blocksOf(wanted) {
      const place = await find(wanted);
      if (place && place.bytes > 0) yield* readBlocks(blocks.file, place);
    },
    async close() {
      await names.close();
      await blocks.close();
    },
  };

  async function find(wanted: Uint8Array): Promise<{ at: number; bytes: number } | null> {
    let low = 0;
    let high = held.length;
    // The last one that is not behind it.
    while (low < high) {
      const middle = (low + high) >> 1;
      if (comparePaths((held[middle] as Held).path, wanted) <= 0) low = middle + 1;
      else high = middle;
    }
    const from = held[low - 1];
    if (!from) return null;
    const to = held[low]?.at ?? names.bytes();
    for (const line of (await names.read(from.at, to - from.at)).split('\n')) {
      const [name = '', at, bytes] = line.split(' ');
      if (at !== undefined && Buffer.from(name, 'base64').equals(wanted))
        return { at: Number(at), bytes: Number(bytes) };
    }
    return null;
  }
}

async function* readBlocks(file: string, { at, bytes }: { at: number; bytes: number }): AsyncGenerator<Block> {
  let rest = '';
  const range = { start: at, end: at + bytes - 1 };
  for await (const chunk of createReadStream(file, { ...range, encoding: 'utf8', highWaterMark: chunkBytes })) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield JSON.parse(line);
  }
}

/** A file that is written once, in chunks, and read in places. */
async function createScratch(file: string) {
  const handle: FileHandle = await open(file, 'wx+', 0o600);
  let chunk = '';
  let written = 0;
  const flush = async () => {
    const text = chunk;
    chunk = '';
    await onStaging(file, () => handle.writeFile(text));
    await setImmediate();
  };
  return {
    file,
    /** All is ASCII: paths are base64, and the rest is numbers. */
    bytes: () => written,
    async write(text: string) {
      chunk += text;
      written += text.length;
      if (chunk.length >= chunkBytes) await flush();
    },
    finish: flush,
    async read(at: number, length: number): Promise<string> {
      const buffer = Buffer.alloc(length);
      await handle.read(buffer, 0, length, at);
      return buffer.toString('latin1');
    },
    close: () => handle.close(),
  };
}
