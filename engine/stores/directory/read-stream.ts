import { Readable } from 'node:stream';
import type { OpenFile } from './disk.ts';

const pieceBytes = 1024 * 1024;

/** The bytes of an open file up to `end`, default all; each chunk the reader's own. Closes the file, however it ends. */
export function readStream(file: OpenFile, { start = 0, end = Number.POSITIVE_INFINITY } = {}): Readable {
  let at = start;
  const stream = new Readable({
    highWaterMark: pieceBytes,
    read() {
      if (at >= end) return void stream.push(null);
      const piece = Buffer.allocUnsafeSlow(Math.min(pieceBytes, end - at));
      file.read(piece, at).then(
        (bytes) => {
          at += bytes;
          if (!stream.destroyed) stream.push(bytes === 0 ? null : piece.subarray(0, bytes));
        },
        (error: Error) => stream.destroy(error),
      );
    },
    destroy(error, callback) {
      file.close().then(
        () => callback(error),
        (closing: Error) => callback(error ?? closing),
      );
    },
  });
  return stream;
}
