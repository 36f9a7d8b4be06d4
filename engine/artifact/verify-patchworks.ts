import { byFrame } from './frame-order.ts';
import type { FramePool } from './frame-pool.ts';
import { openContent, type PointReader } from './reader.ts';
import type { Patchwork, Stretch } from './types.ts';

/** Blocks that are put together at a time. */
const windowBytesMax = 64 * 1024 * 1024;

interface Wanted {
  name: string;
  block: Patchwork;
  bytes: Buffer<ArrayBuffer>;
}

/**
 * Puts every block together that lies in stretches, from whichever artifacts, and compares it with its hash. Memory
 * stays at one window and a few frames. Throws Corrupt for a frame that cannot be read.
 */
export async function verifyPatchworks(
  reader: PointReader,
  pool: FramePool,
  { onProblem, signal }: { onProblem: (what: string) => void; signal: AbortSignal },
): Promise<void> {
  for await (const window of windowsIn(reader)) {
    signal.throwIfAborted();
    await fill(reader, pool, window);
    const found = await Promise.all(window.map(({ bytes }) => pool.examine({ bytes, known: null, rule: null })));
    for (const [i, { name, block }] of window.entries()) {
      if (found[i]?.sha256 !== block.sha256)
        onProblem(`${name}: a block in several parts is not what the manifest names`);
    }
  }
}

async function* windowsIn(reader: PointReader): AsyncGenerator<Wanted[]> {
  let window: Wanted[] = [];
  let gathered = 0;
  for await (const entry of reader.entries()) {
    for await (const block of entry.blocks) {
      if (!('stretches' in block)) continue;
      window.push({ name: Buffer.from(entry.path).toString(), block, bytes: Buffer.allocUnsafeSlow(block.bytes) });
      gathered += block.bytes;
      if (gathered < windowBytesMax) continue;
      yield window;
      window = [];
      gathered = 0;
    }
  }
  if (window.length > 0) yield window;
}

interface Part {
  stretch: Stretch;
  into: Buffer;
}

async function fill(reader: PointReader, pool: FramePool, window: Wanted[]): Promise<void> {
  const frames = byFrame(window.flatMap(partsOf), ({ stretch }) => stretch);
  for (let at = 0; at < frames.length; at += pool.threads * 2) {
    await Promise.all(frames.slice(at, at + pool.threads * 2).map((parts) => copy(reader, pool, parts)));
  }
}

function partsOf({ block, bytes }: Wanted): Part[] {
  let at = 0;
  return block.stretches.map((stretch) => {
    const into = bytes.subarray(at, at + stretch.bytes);
    at += stretch.bytes;
    return { stretch, into };
  });
}

async function copy(reader: PointReader, pool: FramePool, parts: Part[]): Promise<void> {
  const [first] = parts;
  if (!first) return;
  const { artifact, frameOffset, frameBytes } = first.stretch;
  const blocks = parts.map(({ stretch: { offset, bytes } }) => ({ offset, bytes, sha256: null }));
  const content = await openContent(reader, pool, { artifact, frameOffset, frameBytes, blocks });
  for (const { stretch, into } of parts) into.set(content.subarray(stretch.offset, stretch.offset + stretch.bytes));
}
