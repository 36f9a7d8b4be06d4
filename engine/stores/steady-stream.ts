import { addAbortSignal, Readable } from 'node:stream';

export interface SteadyStreamOptions {
  /** How many bytes there must be in all; fewer is an error, not an end. */
  bytes: number;
  body: Readable;
  /** Where the other bytes come from when the body breaks after `done` of them. Absent: nowhere. */
  reopen?: (done: number) => Promise<Readable>;
  /** Gives an error its name. */
  failure(error: unknown): Error;
  signal?: AbortSignal | undefined;
}

/** Breaks without a byte in between before the reader hears of it. */
const breaksMax = 3;

/**
 * A stream that ends only when all bytes came, goes on where it broke, and frees what it reads from as soon as it is
 * destroyed, also while no bytes come.
 */
export function steadyStream({ bytes, body: first, reopen, failure, signal }: SteadyStreamOptions): Readable {
  let body: Readable | null = null;
  let wanted = false;
  let opening = false;
  let done = 0;
  let breaks = 0;

  const out = new Readable({
    highWaterMark: 1024 * 1024,
    read() {
      wanted = true;
      if (body) body.resume();
      else again();
    },
    destroy(error, callback) {
      body?.destroy();
      callback(error);
    },
  });
  attach(first);
  return signal ? addAbortSignal(signal, out) : out;

  function attach(next: Readable): void {
    body = next;
    const broken = (error: Error) => {
      if (body !== next || out.destroyed) return;
      body = null;
      next.destroy();
      if (!reopen || ++breaks > breaksMax) out.destroy(failure(error));
      // Otherwise the reader asks again, once it has taken what came before the break.
      else if (wanted) again();
    };
    next.on('data', (chunk: Buffer) => {
      done += chunk.length;
      breaks = 0;
      wanted = false;
      if (!out.push(chunk)) next.pause();
    });
    next.once('end', () => {
      if (done !== bytes) return broken(new Error(`${done} of ${bytes} bytes came`));
      body = null;
      out.push(null);
    });
    // Not once: a destroyed socket may have more than one thing to say.
    next.on('error', broken);
    next.once('close', () => broken(new Error(`closed after ${done} of ${bytes} bytes`)));
    if (!wanted) next.pause();
  }

  function again(): void {
    if (!reopen || opening || done === bytes) return;
    opening = true;
    reopen(done)
      .then((next) => {
        opening = false;
        if (out.destroyed) next.destroy();
        else attach(next);
      })
      .catch((error: unknown) => out.destroy(failure(error)));
  }
}
