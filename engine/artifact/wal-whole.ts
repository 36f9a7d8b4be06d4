import { createHash } from 'node:crypto';
import { Failure } from '../../policies/failure.ts';
import { giveBackChunk } from '../give-back.ts';
import { readWalHeader, type WalObject, type WalReading } from './wal-object.ts';

export interface WholeWal extends WalObject {
  /** Of the object as it lies there: its length and SHA-256, lower-case hex. */
  bytes: number;
  sha256: string;
}

/** Reads a whole object of WAL and compares it with its signed line; takes no key. Throws as readWalHeader does. */
export async function readWholeWal(
  reading: WalReading,
  onProgress: (bytes: number) => void = () => {},
): Promise<WholeWal> {
  const { store, key, signal } = reading;
  const object = await readWalHeader(reading);
  const { cipher } = object.header;
  const whole = createHash('sha256');
  const ciphertext = createHash('sha256');
  let bytes = 0;
  for await (const chunk of (await store.get(key, undefined, signal)) as AsyncIterable<Buffer>) {
    whole.update(chunk);
    ciphertext.update(chunk.subarray(Math.min(chunk.length, Math.max(0, object.lineBytes - bytes))));
    bytes += chunk.length;
    giveBackChunk(chunk);
    onProgress(bytes);
  }
  if (bytes !== object.lineBytes + cipher.bytes)
    throw damaged(key, `it has ${bytes} bytes instead of ${object.lineBytes + cipher.bytes}`);
  if (ciphertext.digest('hex') !== cipher.sha256) throw damaged(key, 'its SHA-256 is not what was signed');
  return { ...object, bytes, sha256: whole.digest('hex') };
}

function damaged(key: string, what: string): Failure {
  return new Failure('Corrupt', `${key} is damaged: ${what}.`, { next: 'Use another copy of it.' });
}
