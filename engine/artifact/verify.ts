import { createHash } from 'node:crypto';
import { Failure, isFailure } from '../../policies/failure.ts';
import type { ObjectRole, SealedObject } from '../../policies/recovery-point.ts';
import { giveBackChunk } from '../give-back.ts';
import { passThrough } from './artifact-pass.ts';
import { stretchesOf } from './blocks.ts';
import type { UnpackBlock } from './frame-jobs.ts';
import { byFrame, windowsOf } from './frame-order.ts';
import { acquireFramePool, type FramePool } from './frame-pool.ts';
import { frameBlocksMax, frameCompressedMax } from './limits.ts';
import { objectOf, openObject, type PointReader } from './reader.ts';
import type { EntryWithBlocks, Progress, Stretch } from './types.ts';
import { verifyPatchworks } from './verify-patchworks.ts';
import { measureFrame } from './zstd-frames.ts';

export interface VerifyOptions {
  /**
   * Of the points that this one needs: read every block that it takes from there (`read`, unless told), or only look
   * whether they are there, signed, of the right size, and as long as the blocks say (`look`).
   */
  parents?: 'read' | 'look';
  signal: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

export interface VerifyReport {
  /** Sealed objects whose size and SHA-256 were compared. */
  objects: number;
  entries: number;
  blocks: number;
  /** Of the blocks, i.e. without tar headers and padding. */
  bytes: number;
  /** Everything that is wrong, by name; at most 100 lines, and one that says how many more there are. */
  problems: string[];
}

const problemsMax = 100;

/**
 * Reads all of a point: every sealed object's length and SHA-256, every segment, every frame, every block; the frames
 * must follow each other without gap and hold what backup.json names. The artifact is read once, in order. Collects
 * what is wrong instead of stopping at it; what says nothing of the point (StoreUnreachable …) is thrown.
 */
export async function verifyPoint(reader: PointReader, options: VerifyOptions): Promise<VerifyReport> {
  try {
    return await verifyAll(reader, options);
  } catch (error) {
    options.signal.throwIfAborted();
    throw error;
  }
}

async function verifyAll(reader: PointReader, options: VerifyOptions): Promise<VerifyReport> {
  const { signal } = options;
  const { backup } = reader;
  const report: VerifyReport = { objects: 0, entries: 0, blocks: 0, bytes: 0, problems: [] };
  let unnamed = 0;
  const problem = (what: string) => {
    if (report.problems.length < problemsMax) report.problems.push(what);
    else unnamed++;
  };
  for (const role of ['key', 'manifest'] as const) {
    await collecting(problem, async () => {
      const object = objectOf(backup, role);
      const found = await digest(reader, object.name, signal).catch((error: unknown) => {
        // It was opened by a later one: those that were rotated away are no loss.
        if (role === 'key' && isFailure(error, 'ObjectMissing')) return null;
        throw error;
      });
      if (found === null) return;
      compareObject(object, found, problem);
      report.objects++;
    });
  }
  await collecting(problem, async () => {
    await verifyArtifact(reader, report, problem, options);
    report.objects++;
  });
  if (report.problems.length === 0 && report.entries !== backup.content.entries) {
    problem(`the manifest has ${report.entries} entries, backup.json names ${backup.content.entries}`);
  }
  if (unnamed > 0) report.problems.push(`… and ${unnamed} more`);
  return report;
}

function compareObject(
  object: SealedObject,
  found: { bytes: number; sha256: string },
  problem: (what: string) => void,
): void {
  if (found.bytes !== object.bytes) problem(`${object.name} has ${found.bytes} bytes instead of ${object.bytes}`);
  else if (found.sha256 !== object.sha256)
    problem(`${object.name} has the SHA-256 ${found.sha256} instead of ${object.sha256}`);
}

async function digest(
  reader: PointReader,
  name: string,
  signal: AbortSignal,
): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of (await reader.store.get(
    reader.prefix + name,
    undefined,
    signal,
  )) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
    giveBackChunk(chunk);
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** A frame and the blocks that one or more entries, which follow each other, have in it. */
interface FrameWithBlocks {
  artifact: number;
  offset: number;
  bytes: number;
  blocks: UnpackBlock[];
  names: string[];
}

/**
 * Goes through manifest and artifact side by side. Frames come in the order of the artifact, window by window; those
 * that lie before what was walked already, e.g. of files that were read again, are fetched by themselves. Frames that no entry names (such a file's first reading, the end of
 * the archive) are decompressed all the same. Frames of other points' artifacts are fetched by themselves, too.
 */
async function verifyArtifact(
  reader: PointReader,
  report: VerifyReport,
  problem: (what: string) => void,
  { signal, onProgress, parents = 'read' }: VerifyOptions,
): Promise<void> {
  const role: ObjectRole = 'artifact';
  const object = objectOf(reader.backup, role);
  const stream = await openObject(reader, role, signal);
  const ciphertext = await reader.store.get(reader.prefix + object.name, undefined, signal);
  const pass = passThrough({ stream, ciphertext, name: object.name, onDamage: problem, signal });
  const pool = acquireFramePool();
  const frames = createFrameChecker(pool, problem);
  const lost = new Set<number>();
  let walked = 0;
  try {
    await collecting(problem, async () => {
      await findOthers();
      const stretches = stretchesIn(reader.entries(), report, problem);
      for await (const window of windowsOf(stretches, ({ stretch }) => stretch)) {
        for (const frame of framesOf(window)) {
          signal.throwIfAborted();
          await (frame.artifact === 0 ? visit(frame) : visitOther(frame));
          report.bytes += frame.blocks.reduce((sum, b) => sum + b.bytes, 0);
          onProgress?.({
            bytesDone: report.bytes,
            bytesTotal: reader.backup.content.sourceBytes,
            entriesDone: report.entries,
          });
        }
      }
    });
    await collecting(problem, () => walkTo(stream.plainBytes));
    await frames.idle();
    if (parents === 'read' && report.problems.length === 0) {
      await collecting(problem, () => verifyPatchworks(reader, pool, { onProblem: problem, signal }));
    }
    compareObject(object, await pass.finish(), problem);
    if (report.problems.length === 0 && frames.contentBytes() !== reader.backup.content.bytes) {
      problem(`the frames hold ${frames.contentBytes()} bytes, backup.json names ${reader.backup.content.bytes}`);
    }
  } finally {
    await frames.idle().catch(() => {});
    pass.close();
    await pool.release();
  }

  async function visit(frame: FrameWithBlocks): Promise<void> {
    if (frame.offset > walked) {
      await collecting(problem, () => walkTo(frame.offset));
      walked = frame.offset;
    }
    try {
      const again = frame.offset < walked;
      const compressed = await (again ? stream : pass).read(frame.offset, frame.bytes);
      if (!again) walked = frame.offset + frame.bytes;
      await frames.check(frame, compressed, !again);
    } catch (error) {
      if (!isFailure(error, 'Corrupt')) throw error;
      // Its name is what a person needs; the damage as such is reported once, where it lies.
      problem(`${nameOf(frame)}: the frame at ${frame.offset} is lost`);
      walked = Math.max(walked, frame.offset + frame.bytes);
    }
  }

  /** The points that this one needs, whether or not a block is taken from each. */
  async function findOthers(): Promise<void> {
    for (const index of (await reader.artifacts()).keys()) {
      if (index === 0) continue;
      lost.add(index);
      await collecting(problem, async () => {
        await reader.artifact(index);
        lost.delete(index);
      });
    }
  }

  /** A frame of a point that this one needs. One that is not there was named before. */
  async function visitOther(frame: FrameWithBlocks): Promise<void> {
    if (lost.has(frame.artifact)) return;
    const other = await reader.artifact(frame.artifact);
    const id = (await reader.artifacts())[frame.artifact]?.id;
    if (frame.offset + frame.bytes > other.plainBytes) {
      problem(`${nameOf(frame)}: it needs a frame at ${frame.offset} of ${id}, which ends before`);
      return;
    }
    // Stretches of blocks say nothing by themselves: they are read together.
    const blocks = frame.blocks.filter((b) => b.sha256 !== null);
    if (parents === 'look' || blocks.length === 0) return;
    await collecting(
      (what) => problem(`${nameOf(frame)}: it needs ${id}: ${what}`),
      async () => frames.check(frame, await other.read(frame.offset, frame.bytes), false),
    );
  }

  /** Frames that no entry names, up to the given place. */
  async function walkTo(end: number): Promise<void> {
    while (walked < end) {
      const bytes = await pass.read(walked, Math.min(frameCompressedMax, stream.plainBytes - walked));
      const found = measureFrame(bytes);
      if (typeof found === 'string' || walked + found.frameBytes > end) {
        const at = walked;
        walked = end;
        throw new Failure('Corrupt', `${object.name}: there is no frame at ${at}, where the one before it ends.`, {
          next: 'Use another copy of this recovery point.',
        });
      }
      const offset = walked;
      walked += found.frameBytes;
      await frames.check(
        { artifact: 0, offset, bytes: found.frameBytes, blocks: [], names: [] },
        bytes.subarray(0, found.frameBytes),
        true,
      );
    }
  }
}

/** Decompresses frames and checks their blocks in the pool, a few at a time. */
function createFrameChecker(pool: FramePool, problem: (what: string) => void) {
  const underWay = new Set<Promise<void>>();
  let failed: { error: unknown } | null = null;
  let contentBytes = 0;
  const rethrow = () => {
    if (failed) throw failed.error;
  };
  const check = async (frame: FrameWithBlocks, compressed: Uint8Array, counts: boolean) => {
    const unpacked = await pool.unpack({ compressed, blocks: frame.blocks, wantContent: false });
    if (counts) contentBytes += unpacked.contentBytes;
    for (const { block, what } of unpacked.problems) {
      if (block < 0) problem(`${nameOf(frame)}: the frame at ${frame.offset} ${what}`);
      else problem(`${frame.names[block]}: a block ${what}`);
    }
  };
  return {
    async check(frame: FrameWithBlocks, compressed: Uint8Array, counts: boolean): Promise<void> {
      const job = check(frame, compressed, counts)
        .catch((error: unknown) => {
          failed ??= { error };
        })
        .finally(() => underWay.delete(job));
      underWay.add(job);
      while (underWay.size >= pool.threads * 2) await Promise.race(underWay);
      rethrow();
    },
    async idle(): Promise<void> {
      await Promise.all(underWay);
      rethrow();
    },
    /** Of the frames that were counted. */
    contentBytes: () => contentBytes,
  };
}

function nameOf({ names }: FrameWithBlocks): string {
  const more = new Set(names).size - 1;
  return `${names[0] ?? 'no entry'}${more > 0 ? ` and ${more} more` : ''}`;
}

interface NamedStretch {
  stretch: Stretch;
  /** Null where only the block that it belongs to has one. */
  sha256: string | null;
  name: string;
}

/** Where the manifest's blocks lie; counts what goes by. */
async function* stretchesIn(
  entries: AsyncIterable<EntryWithBlocks>,
  report: VerifyReport,
  problem: (what: string) => void,
): AsyncGenerator<NamedStretch> {
  for await (const entry of entries) {
    report.entries++;
    const name = Buffer.from(entry.path).toString();
    let size = 0;
    for await (const block of entry.blocks) {
      report.blocks++;
      size += block.bytes;
      const sha256 = 'stretches' in block ? null : block.sha256;
      for (const stretch of stretchesOf(block)) yield { stretch, sha256, name };
    }
    if (!entry.streamed && entry.type === 'file' && size !== entry.size) {
      problem(`${name}: its blocks hold ${size} bytes, its entry names ${entry.size}`);
    }
  }
}

/** By frame, in the order of each artifact. */
function* framesOf(window: NamedStretch[]): Generator<FrameWithBlocks> {
  for (const named of byFrame(window, ({ stretch }) => stretch)) {
    for (let at = 0; at < named.length; at += frameBlocksMax) {
      const part = named.slice(at, at + frameBlocksMax);
      const first = part[0]?.stretch;
      if (!first) continue;
      yield {
        artifact: first.artifact,
        offset: first.frameOffset,
        bytes: first.frameBytes,
        blocks: part.map(({ stretch: { offset, bytes }, sha256 }) => ({ offset, bytes, sha256 })),
        names: part.map(({ name }) => name),
      };
    }
  }
}

/** Turns damage into a finding; anything else is no finding but a reason to try again. */
async function collecting(problem: (what: string) => void, body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    if (!isFailure(error, 'Corrupt', 'KeyWrong', 'ObjectMissing', 'FormatUnsupported', 'ChainBroken')) throw error;
    problem(error.message);
  }
}
