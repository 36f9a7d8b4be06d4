import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import type { PutSource } from './store.ts';

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
    open: (offset, length) => Readable.from([buffer.subarray(offset, offset + length)], { objectMode: false }),
  };
}
