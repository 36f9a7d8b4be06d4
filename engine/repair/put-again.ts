import { Readable } from 'node:stream';
import { Failure } from '../../policies/failure.ts';
import { bytesSource, type PutOptions, type PutSource, type Store } from '../stores/index.ts';
import type { Part } from './part.ts';

export interface PutAgain {
  part: Part;
  key: string;
  /** Holds it good; of no matter where the part itself knows its bytes. */
  from: Store;
  /** Lacks it: nothing is ever put over anything. */
  to: Store;
}

/**
 * Puts an object into a store from another one, streaming, with the metadata that it has there, and reads it back. Throws Corrupt or
 * ChecksumMismatch when it is not good where it should come from, ObjectExists when something lies in its place, and what stores throw.
 */
export async function putAgain({ part, key, from, to }: PutAgain, options: PutOptions): Promise<void> {
  const { signal } = options;
  const own = part.text(key);
  if (own === null) {
    const { metadata } = await from.head(key);
    await to.put(key, await storedSource(part, from, key, signal), { metadata, ...options });
  } else {
    await to.put(key, bytesSource(own), options);
  }
  const back = await part.examine(to, key, signal ? { signal } : {});
  if (back.state === 'good') return;
  throw new Failure('ChecksumMismatch', back.problem, { next: 'It is tried again by itself.' });
}

/** An object of another store, read again as often as the put needs it. */
async function storedSource(part: Part, store: Store, key: string, signal?: AbortSignal): Promise<PutSource> {
  const { bytes, sha256 } = part.facts(key) ?? (await factsOf(part, store, key, signal));
  return {
    bytes,
    sha256,
    open: (offset, length) =>
      Readable.from(
        (async function* () {
          if (length > 0) yield* await store.get(key, { offset, length }, signal);
        })(),
        { objectMode: false },
      ),
  };
}

async function factsOf(part: Part, store: Store, key: string, signal?: AbortSignal) {
  const found = await part.examine(store, key, signal ? { signal } : {});
  if (found.state === 'good') return found;
  throw new Failure('Corrupt', found.problem, { next: 'Use another copy of it.' });
}
