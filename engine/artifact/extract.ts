import { Failure } from '../../policies/failure.ts';
import { giveBack } from '../give-back.ts';
import type { UnpackBlock } from './frame-jobs.ts';
import { acquireFramePool, FrameWriteError } from './frame-pool.ts';
import { frameProblem, type PointReader } from './reader.ts';
import type { Block } from './types.ts';

/** One block and the place where its bytes belong. */
export interface ExtractTarget {
  block: Block;
  /** Absolute, raw bytes; the file is created (0600) when it is not there. */
  path: Uint8Array;
  fileOffset: number;
  sparse: boolean;
}

export interface ExtractOptions {
  signal: AbortSignal;
  onProgress?: (bytes: number) => void;
}

/** Blocks planned together, so that ranges can be merged although some files were read again, … */
const windowBlocks = 8_192;
/** … or although the manifest's order is altogether another one than the artifact's, as that of a base backup. */
const disorderedWindowBlocks = 65_536;
/** That is so when one block in so many lies before the one before it. */
const disorderedShare = 200;
/** One ranged GET brings at most this much; gaps up to the second number are read over rather than asked around. */
const rangeBytesMax = 12 * 1024 * 1024;
const gapBytesMax = 256 * 1024;
/** Ranges asked for before the one at hand has been written: hides what a distant store takes to answer. */
const rangesAhead = 2;

interface Frame {
  artifact: number;
  offset: number;
  bytes: number;
  blocks: UnpackBlock[];
}

/**
 * Writes blocks into files: windows of targets are sorted by where their frames lie, neighbouring frames come by one
 * ranged read, threads decompress, verify and write. Each block is read from the one artifact that has it: a chain is
 * not replayed. Memory stays at one window and a few ranges. Throws Corrupt (naming the frame), ChainBroken and
 * TargetUnusable.
 */
export async function extract(
  reader: PointReader,
  targets: AsyncIterable<ExtractTarget>,
  { signal, onProgress }: ExtractOptions,
): Promise<void> {
  const pool = acquireFramePool();
  const underWay = new Set<Promise<void>>();
  let failed: { error: unknown } | null = null;
  try {
    for await (const { frames, bytes } of fetched(reader, targets)) {
      const start = frames[0]?.offset ?? 0;
      for (const frame of frames) {
        signal.throwIfAborted();
        const at = frame.offset - start;
        // In memory of its own, which goes to the thread.
        const job = write(frame, new Uint8Array(bytes.subarray(at, at + frame.bytes)))
          .catch((error: unknown) => {
            failed ??= { error };
          })
          .finally(() => underWay.delete(job));
        underWay.add(job);
        while (underWay.size >= pool.threads * 3) await Promise.race(underWay);
        rethrow(failed);
      }
      giveBack(bytes.buffer);
    }
    await Promise.all(underWay);
    rethrow(failed);
  } finally {
    await Promise.all(underWay);
    await pool.release();
  }

  async function write(frame: Frame, compressed: Uint8Array): Promise<void> {
    try {
      const { problems } = await pool.unpack({ compressed, blocks: frame.blocks, wantContent: false });
      if (problems[0]) {
        throw await frameProblem(reader, { artifact: frame.artifact, frameOffset: frame.offset }, problems[0].what);
      }
      onProgress?.(frame.blocks.reduce((sum, b) => sum + b.bytes, 0));
    } catch (error) {
      if (!(error instanceof FrameWriteError)) throw error;
      throw new Failure('TargetUnusable', `The restored files cannot be written: ${error.message}.`, {
        next:
          error.errno === 'ENOSPC'
            ? 'Free space there, or restore elsewhere.'
            : 'Mend what is named, then restore again.',
        cause: error,
      });
    }
  }
}

function rethrow(failed: { error: unknown } | null): void {
  if (failed) throw failed.error;
}

/** Ranges and their bytes in the order of each artifact, the next ones already on their way. */
async function* fetched(
  reader: PointReader,
  targets: AsyncIterable<ExtractTarget>,
): AsyncGenerator<{ frames: Frame[]; bytes: Buffer<ArrayBuffer> }> {
  const ahead: { frames: Frame[]; bytes: Promise<Buffer<ArrayBuffer>> }[] = [];
  const next = async () => {
    const range = ahead.shift();
    return range && { frames: range.frames, bytes: await range.bytes };
  };
  for await (const window of windows(targets)) {
    for (const frames of rangesOf(window)) {
      const first = frames[0];
      const last = frames.at(-1);
      if (!first || !last) continue;
      const artifact = await reader.artifact(first.artifact);
      const bytes = artifact.read(first.offset, last.offset + last.bytes - first.offset);
      // It is awaited in its turn, or never, when another one fails first.
      bytes.catch(() => {});
      ahead.push({ frames, bytes });
      if (ahead.length <= rangesAhead) continue;
      const range = await next();
      if (range) yield range;
    }
  }
  for (let range = await next(); range; range = await next()) yield range;
}

async function* windows(targets: AsyncIterable<ExtractTarget>): AsyncGenerator<ExtractTarget[]> {
  let window: ExtractTarget[] = [];
  /** Where the last frame lay, by artifact. */
  let lasts: number[] = [];
  let steps = 0;
  for await (const target of targets) {
    window.push(target);
    const { artifact, frameOffset } = target.block;
    if (frameOffset < (lasts[artifact] ?? 0)) steps++;
    lasts[artifact] = frameOffset;
    const limit = steps > window.length / disorderedShare ? disorderedWindowBlocks : windowBlocks;
    if (window.length < limit) continue;
    yield window;
    window = [];
    lasts = [];
    steps = 0;
  }
  if (window.length > 0) yield window;
}

/** Frames in the order of each artifact, grouped into what one read brings. */
function rangesOf(window: ExtractTarget[]): Frame[][] {
  const byArtifact = Map.groupBy(window, ({ block }) => block.artifact);
  return [...byArtifact].flatMap(([artifact, targets]) => rangesIn(artifact, targets));
}

function rangesIn(artifact: number, targets: ExtractTarget[]): Frame[][] {
  const frames = new Map<number, Frame>();
  for (const { block, path, fileOffset, sparse } of targets) {
    const { frameOffset: offset, frameBytes: bytes } = block;
    const frame = frames.get(offset) ?? { artifact, offset, bytes, blocks: [] };
    frame.blocks.push({
      offset: block.offset,
      bytes: block.bytes,
      sha256: block.sha256,
      target: { path, fileOffset, sparse },
    });
    frames.set(offset, frame);
  }
  const ranges: Frame[][] = [];
  let range: Frame[] = [];
  for (const frame of [...frames.values()].sort((a, b) => a.offset - b.offset)) {
    const first = range[0];
    const last = range.at(-1);
    const near = last && frame.offset - (last.offset + last.bytes) <= gapBytesMax;
    const fits = first && frame.offset + frame.bytes - first.offset <= rangeBytesMax;
    if (range.length > 0 && !(near && fits)) {
      ranges.push(range);
      range = [];
    }
    range.push(frame);
  }
  if (range.length > 0) ranges.push(range);
  return ranges;
}
