import { createHash, type Hash } from 'node:crypto';
import { giveBackChunk } from '../../give-back.ts';
import { factsOf, isGrowing } from '../put-source.ts';
import type { GrowingSource, ObjectFacts, PutSource } from '../store.ts';
import { notAsPromised } from './errors.ts';

/** S3's own limit. */
const partsMax = 10_000;
/** Parts of an object whose length nobody knows: so many of each length, the next ones twice as long: 9 TiB in all. */
const partsAlike = 1_111;
/** Larger parts are sent as streams, and so read twice: memory does not grow with the object. */
export const bufferedBytesMax = 64 * 1024 * 1024;

export interface Part {
  number: number;
  offset: number;
  bytes: number;
}

/** A part that the server holds. */
export interface HeldPart {
  number: number;
  bytes: number;
  etag: string;
  /** base64; '' where the server does not tell. */
  sha256: string;
}

/** A part as the source has it. */
export interface ReadPart extends Part {
  sha256: Buffer;
  /** Lower-case hex, only where it was asked for. */
  md5: string | null;
  /** Null for a large part: its bytes are to be read again. */
  body: Buffer<ArrayBuffer> | null;
}

/** Parts of equal size; larger than wanted when there would be more than S3 takes. An empty object has an empty one. */
export function partsOf(bytes: number, wanted: number): Part[] {
  const size = Math.max(wanted, Math.ceil(bytes / partsMax / 1024) * 1024);
  const parts: Part[] = [];
  for (let offset = 0; offset < bytes || parts.length === 0; offset += size) {
    parts.push({ number: parts.length + 1, offset, bytes: Math.min(size, bytes - offset) });
  }
  return parts;
}

/**
 * The parts of a source, each as soon as its bytes are there, and what the whole is, once that is known. The parts of a
 * growing source are where they are whether or not it has ended meanwhile.
 */
export async function* partsAsTheyCome(
  source: PutSource | GrowingSource,
  wanted: number,
  signal?: AbortSignal,
): AsyncGenerator<{ part: Part; whole: ObjectFacts | null }> {
  if (!isGrowing(source)) {
    for (const part of partsOf(source.bytes, wanted)) yield { part, whole: source };
    return;
  }
  for (let number = 1, offset = 0; ; number++) {
    const full = wanted * 2 ** Math.floor((number - 1) / partsAlike);
    const whole = await source.reach(offset + full, signal);
    const bytes = whole ? Math.min(full, whole.bytes - offset) : full;
    if (bytes > 0 || number === 1) yield { part: { number, offset, bytes }, whole };
    offset += bytes;
    if (whole && offset === whole.bytes) return;
  }
}

export interface ReadPartsOptions {
  source: PutSource | GrowingSource;
  /** Length of a part. */
  wanted: number;
  place: string;
  /** For which parts MD5 is wanted too. */
  needsMd5?: (part: Part) => boolean;
  signal?: AbortSignal | undefined;
}

/**
 * The parts in their order, each read once from the source; throws ChecksumMismatch in place of the last one when the
 * whole is not as promised. A part is read when it is asked for.
 */
export async function* readParts(options: ReadPartsOptions): AsyncGenerator<ReadPart, ObjectFacts> {
  const { source, wanted, place, needsMd5 = () => false, signal } = options;
  const all = createHash('sha256');
  const assertWhole = ({ sha256 }: ObjectFacts) => {
    if (all.copy().digest('hex') !== sha256) throw notAsPromised(place, 'another SHA-256');
  };
  for await (const { part, whole } of partsAsTheyCome(source, wanted, signal)) {
    const hashes = needsMd5(part) ? [all, createHash('md5')] : [all];
    const read = await readPart(source, part, place, hashes);
    if (whole && part.offset + part.bytes === whole.bytes) assertWhole(whole);
    yield { ...read, md5: hashes[1]?.digest('hex') ?? null };
  }
  const facts = await factsOf(source, signal);
  assertWhole(facts);
  return facts;
}

/** @param hashes are fed what is read */
export async function readPart(
  source: PutSource | GrowingSource,
  part: Part,
  place: string,
  hashes: Hash[],
): Promise<ReadPart> {
  const body = part.bytes <= bufferedBytesMax ? Buffer.allocUnsafeSlow(part.bytes) : null;
  const own = createHash('sha256');
  let at = 0;
  if (part.bytes > 0) {
    for await (const chunk of source.open(part.offset, part.bytes) as AsyncIterable<Buffer>) {
      if (at + chunk.length > part.bytes) throw notAsPromised(place, 'more bytes');
      body?.set(chunk, at);
      for (const hash of [own, ...hashes]) hash.update(chunk);
      at += chunk.length;
      giveBackChunk(chunk);
    }
  }
  if (at !== part.bytes) throw notAsPromised(place, 'fewer bytes');
  return { ...part, sha256: own.digest(), md5: null, body };
}

/** A part counts as sent when the server holds these very bytes. */
export function holds(held: HeldPart | undefined, part: ReadPart): held is HeldPart {
  if (!held || held.bytes !== part.bytes) return false;
  return held.sha256 === '' ? held.etag === `"${part.md5}"` : held.sha256 === part.sha256.toString('base64');
}

/**
 * Takes items as they come, some at once. All that is under way comes to rest before the first failure is told, so that
 * the caller may clean up.
 */
export async function eachOf<T>(
  items: AsyncIterator<T>,
  concurrency: number,
  body: (item: T) => Promise<void>,
): Promise<void> {
  let failed = false;
  const lane = async () => {
    try {
      for (let next = await items.next(); !next.done && !failed; next = await items.next()) await body(next.value);
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: concurrency }, lane));
  await items.return?.();
  const bad = ends.find((e) => e.status === 'rejected');
  if (bad) throw bad.reason;
}
