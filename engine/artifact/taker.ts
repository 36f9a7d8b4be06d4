import type { Readable } from 'node:stream';
import { giveBackChunk } from '../give-back.ts';

/** A stream of bytes, taken in stretches of whatever length is wanted. */
export interface Taker {
  /** Fills the buffer; returns how many bytes there were, fewer only at the stream's end. */
  take(into: Buffer): Promise<number>;
  /** Goes on to the end. */
  drain(): Promise<void>;
  /** Lets the stream go, wherever it is. */
  close(): void;
}

/** @param onChunk sees every chunk before it is cut up, once */
export function createTaker(stream: Readable, onChunk: (chunk: Buffer) => void = () => {}): Taker {
  const chunks: AsyncIterator<Buffer> = stream[Symbol.asyncIterator]();
  let chunk: Buffer = Buffer.alloc(0);
  let taken = 0;

  /** Whether there was another chunk. */
  async function more(): Promise<boolean> {
    giveBackChunk(chunk);
    const next = await chunks.next();
    chunk = next.done ? Buffer.alloc(0) : next.value;
    taken = 0;
    onChunk(chunk);
    return !next.done;
  }

  return {
    async take(into) {
      let at = 0;
      while (at < into.length && (taken < chunk.length || (await more()))) {
        const part = chunk.subarray(taken, taken + into.length - at);
        into.set(part, at);
        at += part.length;
        taken += part.length;
      }
      return at;
    },
    async drain() {
      while (await more());
    },
    // Not by the iterator: one that was not begun lets nothing go.
    close: () => void stream.destroy(),
  };
}
