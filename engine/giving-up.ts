import { isMainThread, workerData } from 'node:worker_threads';

/**
 * A thread that hangs is given up, and may come back when nobody expects it any more: what it was to write then must not
 * get in the way of whoever has begun anew. It is told by memory that is shared, for it hears nothing else.
 */

/** What a thread that may be given up is started with. */
export interface GivenUpData {
  givenUp: Int32Array<SharedArrayBuffer>;
}

export function newGivenUp(): GivenUpData {
  return { givenUp: new Int32Array(new SharedArrayBuffer(4)) };
}

export function giveUp({ givenUp }: GivenUpData): void {
  Atomics.store(givenUp, 0, 1);
}

/** For between one call and the next: throws in a thread that was given up. Nobody hears of it. */
export function assertExpected(): void {
  if (isMainThread) return;
  const { givenUp } = workerData as GivenUpData;
  if (Atomics.load(givenUp, 0) !== 0) throw new Error('this thread was given up');
}
