import { createHash, type Hash } from 'node:crypto';
import { Failure, isFailure } from '../../policies/failure.ts';
import { giveBackChunk } from '../give-back.ts';
import type { ObjectFacts, PutSource, Store, StoredObject } from './store.ts';

/** Far more than a description or a wrapped key takes up. */
const smallBytesMax = 4 * 1024 * 1024;

/** A small object, whole. Throws Corrupt when it is none: whoever may write into a store must not fill our memory. */
export async function readBytes(store: Store, key: string, signal?: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of (await store.get(key, undefined, signal)) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > smallBytesMax) {
      throw new Failure('Corrupt', `${key} in ${store.name} is damaged: it has more than ${smallBytesMax} bytes.`, {
        next: 'Use another copy of this recovery point; find out who wrote this.',
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** What is known of an object; null when there is none. */
export async function headOrNull(store: Store, key: string): Promise<StoredObject | null> {
  try {
    return await store.head(key);
  } catch (error) {
    if (isFailure(error, 'ObjectMissing')) return null;
    throw error;
  }
}

/** SHA-256 of an object, which is read for it: lower-case hex. */
export async function hashOf(store: Store, key: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of (await store.get(key)) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    giveBackChunk(chunk);
  }
  return hash.digest('hex');
}

/** How far reading an object back had come: so many bytes, and their SHA-256 in lower-case hex. */
export type ReadBack = ObjectFacts;

export interface VerifyObjectOptions {
  signal?: AbortSignal;
  onProgress?: (bytesDone: number) => void;
  /** Where an earlier reading had come to, and the very bytes that were put: these are read in the place of the object's. */
  from?: { reached: ReadBack; source: PutSource };
  /** Told how far it had come when it is aborted. */
  onAborted?: (reached: ReadBack) => void;
}

/** Reads the object back, whole, and compares. Throws ChecksumMismatch naming what was expected and found. */
export async function verifyObject(
  store: Store,
  key: string,
  expect: { bytes: number; sha256: string },
  { signal, onProgress, from, onAborted }: VerifyObjectOptions = {},
): Promise<void> {
  const known = from && from.reached.bytes < expect.bytes ? await hashBefore(from, signal) : null;
  const hash = known ?? createHash('sha256');
  let bytes = known && from ? from.reached.bytes : 0;
  try {
    const range = bytes === 0 ? undefined : { offset: bytes };
    for await (const chunk of (await store.get(key, range, signal)) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bytes += chunk.length;
      giveBackChunk(chunk);
      onProgress?.(bytes);
    }
  } catch (error) {
    if (signal?.aborted) onAborted?.({ bytes, sha256: hash.copy().digest('hex') });
    throw error;
  }
  const sha256 = hash.digest('hex');
  if (bytes === expect.bytes && sha256 === expect.sha256) return;
  throw new Failure(
    'ChecksumMismatch',
    `${key} in ${store.name} is not what was sealed: ${bytes} bytes with SHA-256 ${sha256}, expected ${expect.bytes} with ${expect.sha256}.`,
    { next: 'This copy does not count. Look at the medium or the network, then make the copy again.' },
  );
}

/** The hash of what was read back before, which the bytes at hand still have; null when they have another one. */
async function hashBefore(
  { reached, source }: { reached: ReadBack; source: PutSource },
  signal?: AbortSignal,
): Promise<Hash | null> {
  const hash = createHash('sha256');
  for await (const chunk of source.open(0, reached.bytes) as AsyncIterable<Buffer>) {
    signal?.throwIfAborted();
    hash.update(chunk);
    giveBackChunk(chunk);
  }
  return hash.copy().digest('hex') === reached.sha256 ? hash : null;
}
