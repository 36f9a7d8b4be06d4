import { createHash } from 'node:crypto';
import { Failure } from '../../policies/failure.ts';
import type { Store } from './store.ts';

/** A small object, whole. */
export async function readBytes(store: Store, key: string, signal?: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of await store.get(key, undefined, signal)) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
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
