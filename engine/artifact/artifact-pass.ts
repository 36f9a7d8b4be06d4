import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { Failure, isFailure } from '../../policies/failure.ts';
import { giveBackChunk } from '../give-back.ts';
import { createTaker } from './taker.ts';
import type { StreamDecryptor } from './tink.ts';

export interface ArtifactPassOptions {
  stream: StreamDecryptor;
  /** The whole ciphertext, in order. */
  ciphertext: Readable;
  name: string;
  /** Called once for every segment that does not open. */
  onDamage: (what: string) => void;
  signal: AbortSignal;
}

/** One pass over a sealed object: every byte is hashed, every segment opened, and stretches are given out on the way. */
export interface ArtifactPass {
  /** Plaintext from `offset`, which never goes back; the caller's own. Throws Corrupt where a segment did not open. */
  read(offset: number, length: number): Promise<Buffer<ArrayBuffer>>;
  /** Goes on to the end. */
  finish(): Promise<{ bytes: number; sha256: string }>;
  /** Lets the stream go, wherever it is. */
  close(): void;
}

interface OpenSegment {
  index: number;
  start: number;
  end: number;
  /** Null: damaged. */
  plain: Buffer<ArrayBuffer> | null;
}

/** Memory stays at the segments that the stretch last asked for covers. */
export function passThrough({ stream, ciphertext, name, onDamage, signal }: ArtifactPassOptions): ArtifactPass {
  const hash = createHash('sha256');
  let bytes = 0;
  const taker = createTaker(ciphertext, (chunk) => {
    signal.throwIfAborted();
    hash.update(chunk);
    bytes += chunk.length;
  });
  const cipherSegment = Buffer.allocUnsafeSlow(stream.segmentCipherBytes(0));
  let next = 0;
  let window: OpenSegment[] = [];

  return {
    async read(offset, length) {
      const end = offset + length;
      if (end > stream.plainBytes) throw damaged(name, `bytes ${offset} to ${end} were asked of ${stream.plainBytes}`);
      for (const segment of window) if (segment.end <= offset && segment.plain) giveBackChunk(segment.plain);
      window = window.filter((s) => s.end > offset);
      while (next < stream.segments && (window.at(-1)?.end ?? stream.segmentStart(next)) < end) await openNext(offset);
      const all = Buffer.allocUnsafeSlow(length);
      for (const segment of window) {
        if (segment.start >= end) break;
        if (!segment.plain) throw damaged(name, `segment ${segment.index} of ${stream.segments} did not open`);
        const part = segment.plain.subarray(Math.max(0, offset - segment.start), end - segment.start);
        all.set(part, Math.max(0, segment.start - offset));
      }
      return all;
    },

    async finish() {
      while (next < stream.segments) await openNext(Number.POSITIVE_INFINITY);
      // What follows the last segment counts too: it makes the length wrong.
      await taker.drain();
      return { bytes, sha256: hash.digest('hex') };
    },

    close: () => taker.close(),
  };

  /** Opens the next segment, and keeps it if it reaches beyond `from`. */
  async function openNext(from: number): Promise<void> {
    const index = next++;
    const wanted = stream.segmentCipherBytes(index);
    const cipher = cipherSegment.subarray(0, await taker.take(cipherSegment.subarray(0, wanted)));
    const start = stream.segmentStart(index);
    const segment: OpenSegment = { index, start, end: stream.segmentStart(index + 1), plain: null };
    try {
      if (cipher.length < wanted)
        throw damaged(name, `segment ${index} of ${stream.segments} is cut off after ${cipher.length} bytes`);
      segment.plain = stream.openSegment(index, cipher);
    } catch (error) {
      if (!isFailure(error, 'Corrupt')) throw error;
      onDamage(error.message);
    }
    if (segment.end > from) window.push(segment);
    else if (segment.plain) giveBackChunk(segment.plain);
  }
}

function damaged(name: string, what: string): Failure {
  return new Failure('Corrupt', `${name} is damaged: ${what}.`, {
    next: 'Use another copy of this recovery point; "backupctl backup verify" shows which are good.',
  });
}
