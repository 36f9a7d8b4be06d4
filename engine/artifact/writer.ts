import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { addAbortSignal, type Readable } from 'node:stream';
import type { SealedPoint } from '../../policies/recovery-point.ts';
import {
  artifactNames,
  backupFormat,
  type Content,
  type ContentFormat,
  keyName,
  manifestName,
  type SourceFacts,
  sealedPoint,
} from '../../policies/recovery-point.ts';
import { giveBack, giveBackChunk, ownsMemory } from '../give-back.ts';
import { compressionLevel } from './compression.ts';
import { removeFiles, syncDirectory } from './files.ts';
import type { Examined, ExamineJob } from './frame-jobs.ts';
import { acquireFramePool, type FramePool } from './frame-pool.ts';
import { generatePointKey, keyCheckOf, wrapKey } from './keys.ts';
import { blockBytesMax, frameBytesMax } from './limits.ts';
import { ManifestEncoder } from './manifest.ts';
import { createReferenceFile, type ReferenceFile, referenceNames } from './reference.ts';
import { createSealedFile, onStaging, type SealedFile } from './sealed-file.ts';
import type { ArtifactName, Block, Entry, FrameResult, Piece, PieceResult, WholeBlock } from './types.ts';

export const sealedJsonName = 'sealed.json';
const manifestChunkBytes = 1024 * 1024;

/** What a source seals into. */
export interface ArtifactWriter {
  /** Frames that may be under way at once; callers keep no more unresolved. */
  readonly maxInFlight: number;
  /**
   * Queues one frame of at most 4 MiB; resolves once it is written, in the order of the calls. `bytes` pieces are
   * handed over: the caller must not touch them afterwards. Of pieces that were known nothing is written.
   */
  frame(pieces: Piece[]): Promise<FrameResult>;
  /**
   * Looks at a block before it goes into a frame: what of it another point has. Its bytes are handed over, and come back
   * as far as they are new.
   */
  examine(block: Omit<ExamineJob, 'seq' | 'kind'>): Promise<Examined>;
  /**
   * Reads a stream to its end, as frames of its own, and appends its blocks (≤ 1 MiB each) to the manifest, to the
   * entry given last, which is marked `streamed`. Returns its place in the decompressed artifact.
   */
  stream(content: Readable, onProgress?: (bytes: number) => void): Promise<StreamPlace>;
  /** Appends to the manifest, which is sorted by path; an entry's blocks follow it. */
  entry(entry: Entry): Promise<void>;
  block(block: Block): Promise<void>;
  /** Marks the entry given last: it changed while it was read. For entries whose blocks went ahead of that finding. */
  unstable(): Promise<void>;
}

export interface StreamPlace {
  contentOffset: number;
  bytes: number;
}

export interface SealPointOptions {
  /** Empty, on the staging disk. */
  dir: string;
  point: Pick<SealedPoint, 'id' | 'source' | 'level' | 'parent' | 'classes'>;
  /** What the artifact will hold; its name says it, and is known to whoever follows it from the start. */
  format: ContentFormat;
  /** age recipients. */
  recipients: string[];
  software: string;
  signal: AbortSignal;
  /** Artifacts of other points that blocks refer to by index, from 1 on. */
  others?: ArtifactName[];
  /** Leaves beside the point what a later one can be compared with (reference.ts). */
  withReference?: boolean;
  /** `content.bytes` and `content.entries` are set to what was written, whatever is returned. */
  seal(writer: ArtifactWriter): Promise<{ content: Content; facts: SourceFacts; capturedAt: string }>;
}

/**
 * Seals one recovery point into a folder: artifact, manifest, wrapped key, and `sealed.json` last. What it wrote is
 * removed when it fails or is aborted. Throws PolicyInvalid for a recipient that is none (before anything is read),
 * StagingFull, and whatever the source throws.
 */
export async function sealPoint(options: SealPointOptions): Promise<SealedPoint> {
  const { dir, point, signal } = options;
  const startedAt = new Date().toISOString();
  const artifactName = artifactNames[options.format];
  const names = [artifactName, ...referenceNames, manifestName, keyName, sealedJsonName, `${sealedJsonName}.new`];
  const key = generatePointKey();
  const wrapped = await wrapKey(key, options.recipients);
  const pool = acquireFramePool();
  const opened: SealedFile[] = [];
  const create = async (role: 'artifact' | 'manifest', name: string) => {
    const file = await createSealedFile({ dir, name, role, key, associatedData: `${point.id}/${role}` });
    opened.push(file);
    return file;
  };
  let reference: ReferenceFile | null = null;
  let idle: () => Promise<unknown> = async () => {};
  try {
    const artifact = await create('artifact', artifactName);
    reference = options.withReference ? await createReferenceFile(dir) : null;
    const manifest = createManifestWriter(await create('manifest', manifestName), reference, pool, options);
    const frames = createFrameWriter(artifact, pool, signal, manifest.block);
    idle = () => Promise.allSettled([frames.idle(), manifest.idle()]);
    const result = await options.seal({
      maxInFlight: pool.threads * 2,
      frame: frames.frame,
      examine: pool.examine,
      stream: frames.stream,
      entry: manifest.entry,
      block: manifest.block,
      unstable: manifest.unstable,
    });
    await frames.idle();
    // An empty stream would be no zstd at all.
    if (artifact.plainBytes === 0) await frames.frame([]);
    signal.throwIfAborted();
    const content = { ...result.content, bytes: frames.contentBytes(), entries: manifest.entries() };
    if (content.format !== options.format) throw new RangeError(`${content.format} was sealed as ${options.format}`);
    const sealedManifest = await manifest.finish();
    const objects = [await artifact.finish(), sealedManifest];
    await reference?.finish({
      id: point.id,
      level: point.level,
      parent: point.parent,
      capturedAt: result.capturedAt,
      facts: result.facts,
      manifest: sealedManifest.sha256,
    });
    const keyFile = path.join(dir, keyName);
    await onStaging(keyFile, () => writeFile(keyFile, wrapped, { mode: 0o600, flag: 'wx', flush: true }));
    objects.push({
      role: 'key',
      name: keyName,
      bytes: wrapped.length,
      sha256: createHash('sha256').update(wrapped).digest('hex'),
    });
    const sealed: SealedPoint = sealedPoint.parse({
      format: backupFormat,
      ...point,
      startedAt,
      capturedAt: result.capturedAt,
      sealedAt: new Date().toISOString(),
      content,
      facts: result.facts,
      objects,
      compression: { scheme: 'zstd', level: compressionLevel },
      encryption: {
        scheme: 'tink-streaming-aead/AES256_GCM_HKDF_1MB',
        recipients: options.recipients,
        keyCheck: keyCheckOf(key, point.id),
      },
      software: options.software,
    });
    const file = path.join(dir, sealedJsonName);
    await onStaging(file, () => writeFile(`${file}.new`, JSON.stringify(sealed), { mode: 0o600, flush: true }));
    await onStaging(file, () => syncDirectory(dir, { rename: [`${file}.new`, file] }));
    return sealed;
  } catch (error) {
    // What is under way still holds the files.
    await idle();
    for (const file of opened) await file.close();
    await reference?.close();
    await removeFiles(dir, names);
    throw error;
  } finally {
    key.fill(0);
    await pool.release();
  }
}

/** Compresses in the pool, several frames at once, and writes in order. */
function createFrameWriter(
  artifact: SealedFile,
  pool: FramePool,
  signal: AbortSignal,
  addBlock: (block: Block) => Promise<void>,
) {
  // Once a frame has failed, all that follow fail with it: the artifact must have no gap.
  let tail: Promise<unknown> = Promise.resolve();
  let contentBytes = 0;

  const frame = async (pieces: Piece[]): Promise<FrameResult> => {
    const bytes = pieces.reduce((sum, p) => sum + (p.kind === 'bytes' ? p.bytes.length : p.bytes), 0);
    if (bytes > frameBytesMax) throw new RangeError(`a frame of ${bytes} bytes; ${frameBytesMax} is the most`);
    const packing = pool.pack({ pieces });
    const written = tail.then(async () => {
      signal.throwIfAborted();
      const packed = await packing;
      const result: FrameResult = {
        frameOffset: artifact.plainBytes,
        frameBytes: packed.compressed.length,
        contentOffset: contentBytes,
        contentBytes: packed.contentBytes,
        pieces: packed.pieces,
      };
      // All of it was known.
      if (packed.contentBytes === 0 && pieces.length > 0) return { ...result, frameBytes: 0 };
      contentBytes += packed.contentBytes;
      await artifact.write(packed.compressed);
      giveBack(packed.compressed.buffer);
      return result;
    });
    // Reported to the caller and by idle(); until one of them looks, it must not bring the process down.
    packing.catch(() => {});
    written.catch(() => {});
    tail = written;
    return written;
  };

  const stream: ArtifactWriter['stream'] = async (content, onProgress) => {
    const limit = pool.threads * 2;
    const underWay: Promise<unknown>[] = [];
    const place: StreamPlace = { contentOffset: -1, bytes: 0 };
    const send = (blocks: Uint8Array[]) => {
      const sent = frame(blocks.map((bytes) => ({ kind: 'bytes', bytes, hash: true }))).then((f) => {
        if (place.contentOffset < 0) place.contentOffset = f.contentOffset;
        onProgress?.(place.bytes);
        // Added in one go, so that blocks of the next frame come after them.
        return Promise.all(f.pieces.map((p) => addBlock(blockOf(f, p))));
      });
      sent.catch((error: unknown) => content.destroy(error instanceof Error ? error : undefined));
      underWay.push(sent);
    };
    const cutter = createBlockCutter(frameBytesMax);
    // A source that stalls must not outlive the job.
    addAbortSignal(signal, content);
    try {
      for await (const chunk of content as AsyncIterable<Buffer>) {
        place.bytes += chunk.length;
        for (const blocks of cutter.take(chunk)) {
          send(blocks);
          while (underWay.length >= limit) await underWay.shift();
        }
      }
      const rest = cutter.rest();
      if (rest.length > 0) send(rest);
      await Promise.all(underWay);
    } catch (error) {
      await Promise.allSettled(underWay);
      signal.throwIfAborted();
      throw error;
    }
    if (place.contentOffset < 0) place.contentOffset = contentBytes;
    return place;
  };

  return { frame, stream, idle: () => tail, contentBytes: () => contentBytes };
}

/** The manifest's block for one piece of a frame. */
export function blockOf(frame: FrameResult, piece: PieceResult): WholeBlock {
  return {
    artifact: 0,
    frameOffset: frame.frameOffset,
    frameBytes: frame.frameBytes,
    offset: piece.offset,
    bytes: piece.bytes,
    sha256: piece.sha256 ?? '',
  };
}

/**
 * Joins what is read into blocks, each in memory of its own, and gives out as many as make up a frame. Takes over what it
 * is given: what is a block already is not copied.
 */
function createBlockCutter(frameBytes: number) {
  let blocks: Uint8Array[] = [];
  let current: Buffer | null = null;
  let at = 0;
  const endBlock = (block: Uint8Array) => {
    blocks.push(block);
    current = null;
    at = 0;
  };
  const isFrame = () => blocks.length * blockBytesMax === frameBytes;
  const taken = () => {
    const frame = blocks;
    blocks = [];
    return frame;
  };
  return {
    *take(bytes: Uint8Array): Generator<Uint8Array[]> {
      if (at === 0 && bytes.length === blockBytesMax && ownsMemory(bytes)) {
        endBlock(bytes);
        if (isFrame()) yield taken();
        return;
      }
      for (let rest = bytes; rest.length > 0; ) {
        current ??= Buffer.allocUnsafeSlow(blockBytesMax);
        const part = rest.subarray(0, current.length - at);
        current.set(part, at);
        at += part.length;
        rest = rest.subarray(part.length);
        if (at < current.length) break;
        endBlock(current);
        if (isFrame()) yield taken();
      }
      giveBackChunk(bytes);
    },
    rest(): Uint8Array[] {
      // What does not fill its memory would take all of it along.
      if (current) endBlock(new Uint8Array(current.subarray(0, at)));
      return taken();
    },
  };
}

/** Collects lines into chunks, compresses them in the pool and seals them in order. */
function createManifestWriter(
  file: SealedFile,
  reference: ReferenceFile | null,
  pool: FramePool,
  { point, others = [] }: Pick<SealPointOptions, 'point' | 'others'>,
) {
  let lines: string[] = [];
  let length = 0;
  const encoder = new ManifestEncoder(
    { id: point.id, artifacts: [{ id: point.id, source: point.source.name }, ...others] },
    (text) => {
      lines.push(text);
      length += text.length;
    },
  );
  let tail: Promise<void> = Promise.resolve();
  const flush = () => {
    const bytes = new TextEncoder().encode(lines.join(''));
    lines = [];
    length = 0;
    tail = tail.then(() => write(bytes));
    tail.catch(() => {});
    return tail;
  };
  const write = async (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length; at += frameBytesMax) {
      const part = bytes.slice(at, at + frameBytesMax);
      const { compressed } = await pool.pack({
        pieces: [{ kind: 'bytes', bytes: part, hash: false }],
      });
      await file.write(compressed);
      await reference?.write(compressed);
      giveBack(compressed.buffer);
    }
  };
  const whenFull = async () => {
    if (length >= manifestChunkBytes) await flush();
  };
  return {
    entry(entry: Entry) {
      encoder.entry(entry);
      return whenFull();
    },
    block(block: Block) {
      encoder.block(block);
      return whenFull();
    },
    unstable() {
      encoder.unstable();
      return whenFull();
    },
    idle: () => tail,
    entries: () => encoder.entries,
    async finish() {
      encoder.end();
      await flush();
      return file.finish();
    },
  };
}
