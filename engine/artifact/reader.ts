import { hash } from 'node:crypto';
import { Readable } from 'node:stream';
import { Failure, isFailure } from '../../policies/failure.ts';
import {
  backupJsonName,
  type ObjectRole,
  pointPrefix,
  type SealedObject,
  type SealedPoint,
} from '../../policies/recovery-point.ts';
import { giveBack } from '../give-back.ts';
import { readBytes, type Store } from '../stores/index.ts';
import { parseBackupJson, parseSealedJson } from './backup-json.ts';
import { acquireFramePool, type FramePool } from './frame-pool.ts';
import { frameBlocksMax, frameBytesMax } from './limits.ts';
import { decodeManifest } from './manifest.ts';
import { manifestLines } from './manifest-lines.ts';
import { openStream, type StreamDecryptor } from './tink.ts';
import type { ArtifactName, EntryWithBlocks, Patchwork, Stretch } from './types.ts';
import { openPointKey } from './wrapped-keys.ts';
import { sealedJsonName } from './writer.ts';

/** A recovery point opened for reading. Everything it returns has been authenticated. */
export interface PointReader {
  readonly backup: SealedPoint;
  readonly store: Store;
  readonly prefix: string;
  readonly key: Uint8Array;
  /**
   * The sealed artifact that blocks with this index lie in, for random access: 0, the point's own, unless told; others
   * are those of points that this one needs. Throws ChainBroken when such a point is not there.
   */
  artifact(index?: number): Promise<StreamDecryptor>;
  /** Whose artifacts blocks refer to by index, the point itself first. */
  artifacts(): Promise<ArtifactName[]>;
  /** From the manifest, in order. */
  entries(): AsyncIterable<EntryWithBlocks>;
  /** The decompressed bytes of one entry (format `parts`: a part by name), every block checked against the manifest. */
  content(path: string, signal?: AbortSignal): Readable;
}

export interface OpenPointOptions {
  store: Store;
  source: string;
  id: string;
  /** age identity, or several, one a line. */
  identity: string;
  /** Public keys whose signature counts. Not needed for a point that is only staged. */
  trusted?: string[];
  /** Read `sealed.json` of a staged point instead of the signed backup.json of a published one. */
  sealed?: boolean;
  /** Where the points lie that this one needs; by default, beside it. */
  parents?: { store: Store; trusted: string[] };
  signal?: AbortSignal;
}

/** Opens a point. Throws PointUnknown, SignatureInvalid, KeyMissing, KeyWrong, Corrupt, FormatUnsupported. */
export async function openPoint(options: OpenPointOptions): Promise<PointReader> {
  const { store, source, id } = options;
  const prefix = pointPrefix(source, id);
  const backup = await readDescription(options, prefix);
  const key = await openPointKey({ store, prefix, backup }, options.identity);
  const open = async (role: ObjectRole) => {
    const object = objectOf(backup, role);
    const { bytes } = await store.head(prefix + object.name);
    if (bytes !== object.bytes) throw corrupt(`${prefix}${object.name} has ${bytes} bytes instead of ${object.bytes}`);
    return openObject({ store, prefix, backup, key }, role, options.signal);
  };
  const openManifest = async () => {
    const lines = manifestLines(plaintext(await open('manifest')));
    const { header, entries } = await decodeManifest(lines[Symbol.asyncIterator]());
    if (header.id !== id) throw corrupt(`the manifest is that of ${header.id}, not of ${id}`);
    return { names: header.artifacts, entries };
  };
  let names: ArtifactName[] | null = null;
  const opened = new Map<number, Promise<StreamDecryptor>>();
  const openArtifact = async (index: number) => {
    if (index === 0) return open('artifact');
    const name = (await reader.artifacts())[index];
    if (!name) throw corrupt(`${id} has no artifact ${index}`);
    return openOther(options, name);
  };
  const reader: PointReader = {
    backup,
    store,
    prefix,
    key,
    artifact: (index = 0) => {
      const known = opened.get(index);
      if (known !== undefined) return known;
      const artifact = openArtifact(index).catch((error: unknown) => {
        // What failed once may come right: a store that was out of reach is asked again.
        opened.delete(index);
        throw error;
      });
      opened.set(index, artifact);
      return artifact;
    },
    async artifacts() {
      if (names) return names;
      const manifest = await openManifest();
      await manifest.entries.return(undefined);
      names = manifest.names;
      return names;
    },
    async *entries() {
      const manifest = await openManifest();
      names = manifest.names;
      yield* manifest.entries;
    },
    content: (path, signal) => Readable.from(contentOf(reader, path, signal), { objectMode: false }),
  };
  return reader;
}

/** The artifact of a point that another one needs. Nothing else of it is read, but what it takes to trust it. */
async function openOther(options: OpenPointOptions, { id, source }: ArtifactName): Promise<StreamDecryptor> {
  const { store, trusted } = options.parents ?? { store: options.store, trusted: options.trusted ?? [] };
  try {
    const { identity, signal } = options;
    const other = await openPoint({ store, source, id, identity, trusted, ...(signal ? { signal } : {}) });
    return await other.artifact();
  } catch (error) {
    if (!isFailure(error, 'PointUnknown', 'ObjectMissing', 'KeyMissing', 'SignatureInvalid')) throw error;
    throw new Failure('ChainBroken', `${options.id} needs ${source}/${id}: ${error.message}`, {
      next: 'Use another copy; "backupctl backup verify" shows which are whole.',
      cause: error,
    });
  }
}

async function readDescription(options: OpenPointOptions, prefix: string): Promise<SealedPoint> {
  const { store, source, id } = options;
  const name = options.sealed ? sealedJsonName : backupJsonName;
  const bytes = await readBytes(store, prefix + name).catch((error: unknown) => {
    if (!isFailure(error, 'ObjectMissing')) throw error;
    throw new Failure('PointUnknown', `${store.name} has no recovery point ${id} of ${source}.`, {
      next: '"backupctl backup list" shows the points and where each lies.',
      cause: error,
    });
  });
  const backup = options.sealed ? parseSealedJson(bytes) : parseBackupJson(bytes, options.trusted ?? []);
  if (backup.id !== id || backup.source.name !== source) {
    throw corrupt(`${prefix}${name} is that of ${backup.source.name}/${backup.id}`);
  }
  return backup;
}

/** The sealed object of a role. Throws Corrupt when the description has none. */
export function objectOf(backup: Pick<SealedPoint, 'id' | 'objects'>, role: ObjectRole): SealedObject {
  const object = backup.objects.find((o) => o.role === role);
  if (!object) throw corrupt(`${backup.id} has no ${role}`);
  return object;
}

/** A sealed object as backup.json describes it, whatever the store holds. */
export function openObject(
  { store, prefix, backup, key }: Pick<PointReader, 'store' | 'prefix' | 'backup' | 'key'>,
  role: ObjectRole,
  signal?: AbortSignal,
): Promise<StreamDecryptor> {
  const object = objectOf(backup, role);
  const name = prefix + object.name;
  return openStream({
    key,
    associatedData: `${backup.id}/${role}`,
    name,
    cipherBytes: object.bytes,
    fetch: (offset, length) => store.get(name, { offset, length }, signal),
  });
}

/** Plaintext fetched at a time. */
const readAheadBytes = 8 * 1024 * 1024;

/** The whole plaintext of a sealed object, in order; memory stays at two stretches of 8 MiB. */
export async function* plaintext(stream: StreamDecryptor): AsyncGenerator<Buffer> {
  let ahead = stream.plainBytes > 0 ? stream.read(0, Math.min(readAheadBytes, stream.plainBytes)) : null;
  for (let offset = 0; ahead; ) {
    const bytes: Buffer = await ahead;
    offset += bytes.length;
    ahead =
      offset < stream.plainBytes ? stream.read(offset, Math.min(readAheadBytes, stream.plainBytes - offset)) : null;
    // If the reader of this generator stops here, nobody awaits what was read ahead.
    ahead?.catch(() => {});
    yield bytes;
  }
}

/** One entry's bytes: frames are fetched in order, decompressed in the pool, verified. */
async function* contentOf(reader: PointReader, path: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const wanted = Buffer.from(path);
  const pool = acquireFramePool();
  try {
    for await (const entry of reader.entries()) {
      if (!wanted.equals(entry.path)) continue;
      const ahead: Promise<Uint8Array>[] = [];
      for await (const part of framesOf(entry)) {
        signal?.throwIfAborted();
        const bytes = 'stretches' in part ? openPatchwork(part) : openFrame(part);
        bytes.catch(() => {});
        ahead.push(bytes);
        if (ahead.length > pool.threads) yield (await ahead.shift()) ?? new Uint8Array();
      }
      for (const bytes of ahead) yield await bytes;
      return;
    }
    throw corrupt(`${reader.backup.id} holds no ${path}`);

    async function openFrame(frame: FrameOfEntry): Promise<Uint8Array> {
      const content = await openContent(reader, pool, frame);
      return joined(frame.blocks.map((b) => content.subarray(b.offset, b.offset + b.bytes)));
    }

    async function openPatchwork({ stretches, bytes, sha256 }: Patchwork): Promise<Uint8Array> {
      const block = Buffer.allocUnsafe(bytes);
      let at = 0;
      for (const stretch of stretches) {
        const { offset, bytes: length, ...place } = stretch;
        const content = await openContent(reader, pool, {
          ...place,
          blocks: [{ offset, bytes: length, sha256: null }],
        });
        block.set(content.subarray(offset, offset + length), at);
        at += length;
      }
      if (hash('sha256', block) !== sha256) throw corrupt(`a block of ${path} is not what the manifest names`);
      return block;
    }
  } finally {
    await pool.release();
  }
}

/** A frame, decompressed, in which the blocks named lie. */
export async function openContent(reader: PointReader, pool: FramePool, frame: FrameOfEntry): Promise<Uint8Array> {
  const artifact = await reader.artifact(frame.artifact);
  const compressed = await artifact.read(frame.frameOffset, frame.frameBytes);
  const { content, problems } = await pool.unpack({ compressed, blocks: frame.blocks, wantContent: true });
  giveBack(compressed.buffer);
  if (problems[0] || !content) throw await frameProblem(reader, frame, problems[0]?.what ?? 'is empty');
  return content;
}

/** The bytes of one entry in one frame: as they stand where they lie side by side, which is nearly always. */
function joined(parts: Uint8Array[]): Uint8Array {
  const first = parts[0] ?? new Uint8Array();
  let end = first.byteOffset;
  for (const part of parts) {
    if (part.byteOffset !== end) return Buffer.concat(parts);
    end += part.byteLength;
  }
  return new Uint8Array(first.buffer, first.byteOffset, end - first.byteOffset);
}

/** Names the frame that is not what was sealed. */
export async function frameProblem(
  reader: PointReader,
  { artifact, frameOffset }: { artifact: number; frameOffset: number },
  what: string,
): Promise<Failure> {
  const id = artifact === 0 ? reader.backup.id : (await reader.artifacts())[artifact]?.id;
  return corrupt(`the frame at ${frameOffset} of ${id}'s artifact ${what}`);
}

interface FrameOfEntry extends Pick<Stretch, 'artifact' | 'frameOffset' | 'frameBytes'> {
  blocks: { offset: number; bytes: number; sha256: string | null }[];
}

/** An entry's blocks as far as they follow each other in a frame; those that do not lie in one by themselves. */
async function* framesOf(entry: EntryWithBlocks): AsyncGenerator<FrameOfEntry | Patchwork> {
  let frame: FrameOfEntry | null = null;
  let contentBytes = 0;
  for await (const block of entry.blocks) {
    if ('stretches' in block) {
      if (frame) yield frame;
      frame = null;
      yield block;
      continue;
    }
    const { artifact, frameOffset, frameBytes, offset, bytes, sha256 } = block;
    // Blocks that name the same bytes again and again are given out a frame's worth at a time.
    const full = frame && (contentBytes + bytes > frameBytesMax || frame.blocks.length === frameBlocksMax);
    if (frame && (full || frame.frameOffset !== frameOffset || frame.artifact !== artifact)) {
      yield frame;
      frame = null;
    }
    if (!frame) contentBytes = 0;
    frame ??= { artifact, frameOffset, frameBytes, blocks: [] };
    frame.blocks.push({ offset, bytes, sha256 });
    contentBytes += bytes;
  }
  if (frame) yield frame;
}

function corrupt(what: string): Failure {
  return new Failure('Corrupt', `The recovery point is damaged: ${what}.`, {
    next: 'Use another copy of this recovery point; "backupctl backup verify" shows which are good.',
  });
}
