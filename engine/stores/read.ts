import { createHash } from 'node:crypto';
import { Failure } from '../../policies/failure.ts';
import { giveBackChunk } from '../give-back.ts';
import type { Store } from './store.ts';

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

/** SHA-256 of an object, which is read for it: lower-case hex. */
export async function hashOf(store: Store, key: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of (await store.get(key)) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    giveBackChunk(chunk);
  }
  return hash.digest('hex');
}

export interface VerifyObjectOptions {
  signal?: AbortSignal;
  onProgress?: (bytesDone: number) => void;
}

/** Reads the object back, whole, and compares. Throws ChecksumMismatch naming what was expected and found. */
export async function verifyObject(
  store: Store,
  key: string,
  expect: { bytes: number; sha256: string },
  { signal, onProgress }: VerifyObjectOptions = {},
): Promise<void> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of (await store.get(key, undefined, signal)) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
    giveBackChunk(chunk);
    onProgress?.(bytes);
  }
  const sha256 = hash.digest('hex');
  if (bytes === expect.bytes && sha256 === expect.sha256) return;
  throw new Failure(
    'ChecksumMismatch',
    `${key} in ${store.name} is not what was sealed: ${bytes} bytes with SHA-256 ${sha256}, expected ${expect.bytes} with ${expect.sha256}.`,
    { next: 'This copy does not count. Look at the medium or the network, then make the copy again.' },
  );
}
