import { Failure } from '../../policies/failure.ts';
import type { BlockTarget, CompareJob, UnpackBlock } from './frame-jobs.ts';
import { byFrame, windowsOf } from './frame-order.ts';
import { acquireFramePool, FrameWriteError } from './frame-pool.ts';
import { frameProblem, type PointReader } from './reader.ts';
import type { Block, Stretch } from './types.ts';

/** One block and the place where its bytes belong; the file is created (0600) when it is not there. */
export interface ExtractTarget extends BlockTarget {
  block: Block;
}

export interface ExtractOptions {
  /** Whether the kernel begins to write to the disk while more is coming: for who will wait until all is there. */
  writeBehind: boolean;
  signal: AbortSignal;
  onProgress?: (bytes: number) => void;
}

/** One ranged GET brings at most this much; gaps up to the second number are read over rather than asked around. */
const rangeBytesMax = 12 * 1024 * 1024;
const gapBytesMax = 256 * 1024;
/** Ranges asked for before the one at hand has been written: hides what a store takes to answer, a distant one longer. */
const rangesAhead = { directory: 1, s3: 2 };

interface Frame {
  artifact: number;
  offset: number;
  bytes: number;
  blocks: UnpackBlock[];
  /** Blocks that are whole only once this and other frames were written, as often as they have stretches here. */
  patched: PatchedBlock[];
}

/** A block on its way, put together in its place in the file. */
type PatchedBlock = CompareJob['blocks'][number] & {
  /** Stretches still to be written. */
  missing: number;
};

/** What is written as it lies in a frame: a block, or a stretch of one. */
interface Piece {
  stretch: Stretch;
  /** Null for a stretch of a block, whose hash is that of the whole. */
  sha256: string | null;
  patched: PatchedBlock | null;
  target: BlockTarget;
}

/**
 * Writes blocks into files: windows of targets are sorted by where their frames lie, neighbouring frames come by one
 * ranged read, threads decompress, verify and write. Each block, or stretch of one, is read from the one artifact that has
 * it: a chain is not replayed. A block that was put together of stretches is read again and verified. Memory
 * stays at one window and a few ranges. Throws Corrupt (naming the frame), ChainBroken and TargetUnusable.
 */
export async function extract(
  reader: PointReader,
  targets: AsyncIterable<ExtractTarget>,
  { writeBehind, signal, onProgress }: ExtractOptions,
): Promise<void> {
  const pool = acquireFramePool();
  const underWay = new Set<Promise<void>>();
  let failed: { error: unknown } | null = null;
  try {
    for await (const range of fetched(reader, targets)) {
      for (const { frame, compressed } of range) {
        signal.throwIfAborted();
        const job = write(frame, await compressed)
          .catch((error: unknown) => {
            failed ??= { error };
          })
          .finally(() => underWay.delete(job));
        underWay.add(job);
        while (underWay.size >= pool.threads * 2) await Promise.race(underWay);
        rethrow(failed);
      }
    }
    await Promise.all(underWay);
    rethrow(failed);
  } finally {
    await Promise.all(underWay);
    await pool.release();
  }

  async function write(frame: Frame, compressed: Uint8Array): Promise<void> {
    try {
      const { problems } = await pool.unpack({ compressed, blocks: frame.blocks, wantContent: false, writeBehind });
      if (problems[0]) {
        throw await frameProblem(reader, { artifact: frame.artifact, frameOffset: frame.offset }, problems[0].what);
      }
      onProgress?.(frame.blocks.reduce((sum, b) => sum + b.bytes, 0));
      await verify(frame.patched.filter((block) => --block.missing === 0));
    } catch (error) {
      if (!(error instanceof FrameWriteError)) throw error;
      throw new Failure(
        'TargetUnusable',
        `The restored files cannot be written, or not read again: ${error.message}.`,
        {
          next:
            error.errno === 'ENOSPC'
              ? 'Free space there, or restore elsewhere.'
              : 'Mend what is named, then restore again.',
          cause: error,
        },
      );
    }
  }

  /** Blocks whose last stretch was written. */
  async function verify(patched: PatchedBlock[]): Promise<void> {
    if (patched.length === 0) return;
    const { problems } = await pool.compare({ blocks: patched, writeBehind });
    const wrong = patched[problems[0]?.block ?? -1];
    if (!wrong) return;
    const end = wrong.fileOffset + wrong.bytes;
    throw new Failure(
      'Corrupt',
      `The recovery point is damaged: bytes ${wrong.fileOffset} to ${end} of ${Buffer.from(wrong.path).toString()}, put together from ${reader.backup.id} and the points it needs, are not what the manifest names.`,
      { next: 'Restore from another point, and take a full backup.' },
    );
  }
}

function rethrow(failed: { error: unknown } | null): void {
  if (failed) throw failed.error;
}

interface FetchedFrame {
  frame: Frame;
  /** In memory of its own, which goes to the thread. */
  compressed: Promise<Uint8Array>;
}

/** Ranges in the order of each artifact, the next ones already on their way. */
async function* fetched(reader: PointReader, targets: AsyncIterable<ExtractTarget>): AsyncGenerator<FetchedFrame[]> {
  const ahead: FetchedFrame[][] = [];
  for await (const window of windowsOf(piecesOf(targets), ({ stretch }) => stretch)) {
    for (const frames of rangesOf(window)) {
      const first = frames[0];
      if (!first) continue;
      const artifact = await reader.artifact(first.artifact);
      const all = artifact.readInOrder(frames);
      // Each is awaited in its turn, or never, when another one fails first.
      for (const compressed of all) compressed.catch(() => {});
      ahead.push(frames.map((frame, i) => ({ frame, compressed: all[i] as Promise<Uint8Array> })));
      const range = ahead.length > rangesAhead[reader.store.kind] ? ahead.shift() : undefined;
      if (range) yield range;
    }
  }
  yield* ahead;
}

async function* piecesOf(targets: AsyncIterable<ExtractTarget>): AsyncGenerator<Piece> {
  for await (const { block, ...target } of targets) {
    if (!('stretches' in block)) {
      yield { stretch: block, sha256: block.sha256, patched: null, target };
      continue;
    }
    const { bytes, sha256, stretches } = block;
    // What the file has besides its content is set once that is whole.
    const { own, ...place } = target;
    const patched = { ...target, bytes, sha256, missing: stretches.length };
    let { fileOffset } = target;
    for (const stretch of stretches) {
      yield { stretch, sha256: null, patched, target: { ...place, fileOffset } };
      fileOffset += stretch.bytes;
    }
  }
}

/** Frames in the order of each artifact, grouped into what one read brings. */
function rangesOf(window: Piece[]): Frame[][] {
  const ranges: Frame[][] = [];
  let range: Frame[] = [];
  for (const frame of byFrame(window, ({ stretch }) => stretch).map(frameOf)) {
    const first = range[0];
    const last = range.at(-1);
    const near = last && frame.offset - (last.offset + last.bytes) <= gapBytesMax;
    const fits = first && frame.offset + frame.bytes - first.offset <= rangeBytesMax;
    if (range.length > 0 && !(near && fits && first.artifact === frame.artifact)) {
      ranges.push(range);
      range = [];
    }
    range.push(frame);
  }
  if (range.length > 0) ranges.push(range);
  return ranges;
}

function frameOf(pieces: Piece[]): Frame {
  const [first] = pieces;
  if (!first) throw new RangeError('a frame without blocks');
  return {
    artifact: first.stretch.artifact,
    offset: first.stretch.frameOffset,
    bytes: first.stretch.frameBytes,
    blocks: pieces.map(({ stretch: { offset, bytes }, sha256, target }) => ({ offset, bytes, sha256, target })),
    patched: pieces.flatMap(({ patched }) => (patched ? [patched] : [])),
  };
}
