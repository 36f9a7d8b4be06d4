import { createHash } from 'node:crypto';
import { Failure, isFailure } from '../../policies/failure.ts';
import type { StreamDecryptor } from './tink.ts';

export interface ArtifactPassOptions {
  stream: StreamDecryptor;
  /** The whole ciphertext, in order. */
  ciphertext: AsyncIterable<Buffer>;
  name: string;
  /** Called once for every segment that does not open. */
  onDamage: (what: string) => void;
  signal: AbortSignal;
}

/** One pass over a sealed object: every byte is hashed, every segment opened, and stretches are given out on the way. */
export interface ArtifactPass {
  /** Plaintext from `offset`, which never goes back. Throws Corrupt where a segment did not open. */
  read(offset: number, length: number): Promise<Buffer>;
  /** Goes on to the end. */
  finish(): Promise<{ bytes: number; sha256: string }>;
}

interface OpenSegment {
  index: number;
  start: number;
  end: number;
  /** Null: damaged. */
  plain: Buffer | null;
}

/** Memory stays at the segments that the stretch last asked for covers. */
export function passThrough({ stream, ciphertext, name, onDamage, signal }: ArtifactPassOptions): ArtifactPass {
  const hash = createHash('sha256');
  let bytes = 0;
  const chunks = ciphertext[Symbol.asyncIterator]();
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  let next = 0;
  let window: OpenSegment[] = [];

  return {
    async read(offset, length) {
      const end = offset + length;
      if (end > stream.plainBytes) throw damaged(name, `bytes ${offset} to ${end} were asked of ${stream.plainBytes}`);
      window = window.filter((s) => s.end > offset);
      while (next < stream.segments && (window.at(-1)?.end ?? stream.segmentStart(next)) < end) await openNext(offset);
      const parts: Buffer[] = [];
      for (const segment of window) {
        if (segment.start >= end) break;
        if (!segment.plain) throw damaged(name, `segment ${segment.index} of ${stream.segments} did not open`);
        parts.push(segment.plain.subarray(Math.max(0, offset - segment.start), end - segment.start));
      }
      return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts);
    },

    async finish() {
      while (next < stream.segments) await openNext(Number.POSITIVE_INFINITY);
      // What follows the last segment counts too: it makes the length wrong.
      pending = [];
      while (await more()) pending = [];
      return { bytes, sha256: hash.digest('hex') };
    },
  };

  /** Opens the next segment, and keeps it if it reaches beyond `from`. */
  async function openNext(from: number): Promise<void> {
    const index = next++;
    const wanted = stream.segmentCipherBytes(index);
    const cipher = await take(wanted);
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
  }

  async function take(wanted: number): Promise<Buffer> {
    while (pendingBytes < wanted && (await more()));
    const all = pending.length === 1 && pending[0] ? pending[0] : Buffer.concat(pending);
    const rest = all.subarray(wanted);
    pending = rest.length > 0 ? [rest] : [];
    pendingBytes = rest.length;
    return all.subarray(0, wanted);
  }

  async function more(): Promise<boolean> {
    signal.throwIfAborted();
    const chunk = await chunks.next();
    if (chunk.done) return false;
    hash.update(chunk.value);
    bytes += chunk.value.length;
    pending.push(chunk.value);
    pendingBytes += chunk.value.length;
    return true;
  }
}

function damaged(name: string, what: string): Failure {
  return new Failure('Corrupt', `${name} is damaged: ${what}.`, {
    next: 'Use another copy of this recovery point; "backupctl backup verify" shows which are good.',
  });
}
