import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import type { GrowingSource, ObjectFacts, PutSource } from './store.ts';

/** A local file that nobody changes any more, such as a staged object. */
export interface FilePutSource extends PutSource {
  readonly path: string;
}

/** @param facts length and SHA-256 of the file, known from when it was written */
export function fileSource(path: string, { bytes, sha256 }: { bytes: number; sha256: string }): FilePutSource {
  return {
    path,
    bytes,
    sha256,
    open: (offset, length) =>
      length === 0
        ? Readable.from([])
        : createReadStream(path, { start: offset, end: offset + length - 1, highWaterMark: 1024 * 1024 }),
  };
}

/** Bytes at hand. */
export function bytesSource(content: Uint8Array | string): PutSource {
  const buffer = Buffer.from(content);
  return {
    bytes: buffer.length,
    sha256: createHash('sha256').update(buffer).digest('hex'),
    open: (offset, length) =>
      Readable.from([Buffer.from(buffer.subarray(offset, offset + length))], { objectMode: false }),
  };
}

/** A file that is still being written. It keeps its name when it is done. */
export interface GrowingFile extends GrowingSource {
  readonly path: string;
}

/** Of a growing source, taken at a time. */
const stepBytes = 256 * 1024;

/** The bytes of a source from an offset on, as they come. */
export async function* arriving(
  source: PutSource | GrowingSource,
  from: number,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  if (!isGrowing(source)) {
    yield* source.open(from, source.bytes - from) as AsyncIterable<Buffer>;
    return;
  }
  for (let at = from; ; at += stepBytes) {
    const whole = await source.reach(at + stepBytes, signal);
    const bytes = whole ? Math.min(stepBytes, whole.bytes - at) : stepBytes;
    if (bytes > 0) yield* source.open(at, bytes) as AsyncIterable<Buffer>;
    if (whole && at + bytes >= whole.bytes) return;
  }
}

export function isGrowing(source: PutSource | GrowingSource): source is GrowingSource {
  return 'reach' in source;
}

/** What the source is, once it has ended. */
export async function factsOf(source: PutSource | GrowingSource, signal?: AbortSignal): Promise<ObjectFacts> {
  if (!isGrowing(source)) return { bytes: source.bytes, sha256: source.sha256 };
  const facts = await source.reach(Number.POSITIVE_INFINITY, signal);
  if (facts) return facts;
  throw new RangeError('a source that has no end');
}
