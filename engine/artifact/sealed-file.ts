import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import path from 'node:path';
import type { ObjectRole, SealedObject } from '../../policies/recovery-point.ts';
import { asDiskFailure } from '../disk-failure.ts';
import { giveBackChunk } from '../give-back.ts';
import { StreamEncryptor, type StreamKey } from './tink.ts';

/** A sealed object being written: encrypts, hashes the ciphertext and writes it, in one pass. */
export interface SealedFile {
  /** Plaintext bytes so far. */
  readonly plainBytes: number;
  write(plain: Uint8Array): Promise<void>;
  /** Seals the last segment and syncs the file. */
  finish(): Promise<SealedObject>;
  close(): Promise<void>;
}

export interface SealedFileOptions extends StreamKey {
  dir: string;
  name: string;
  role: ObjectRole;
}

/** Begins a sealed object in a file of its own (0600), which must not be there yet. Throws StagingFull. */
export async function createSealedFile(options: SealedFileOptions): Promise<SealedFile> {
  const file = path.join(options.dir, options.name);
  const handle = await open(file, 'wx', 0o600);
  const hash = createHash('sha256');
  let chunks: Buffer[] = [];
  let plainBytes = 0;
  let cipherBytes = 0;
  const encryptor = new StreamEncryptor(options, (chunk) => {
    hash.update(chunk);
    cipherBytes += chunk.length;
    chunks.push(chunk);
  });
  const flush = async () => {
    const ready = chunks;
    chunks = [];
    if (ready.length === 0) return;
    await writeAll(handle, ready, file);
    for (const chunk of ready) giveBackChunk(chunk);
  };
  let closed = false;
  const close = async () => {
    if (closed) return;
    closed = true;
    await handle.close();
  };
  return {
    get plainBytes() {
      return plainBytes;
    },
    async write(plain) {
      plainBytes += plain.length;
      encryptor.write(plain);
      await flush();
    },
    async finish() {
      encryptor.end();
      await flush();
      await onStaging(file, () => handle.sync());
      await close();
      return { role: options.role, name: options.name, bytes: cipherBytes, sha256: hash.digest('hex') };
    },
    close,
  };
}

async function writeAll(handle: FileHandle, chunks: Buffer[], file: string): Promise<void> {
  let left = chunks;
  while (left.length > 0) {
    const { bytesWritten } = await onStaging(file, () => handle.writev(left));
    let skip = bytesWritten;
    const rest: Buffer[] = [];
    for (const chunk of left) {
      if (skip >= chunk.length) skip -= chunk.length;
      else {
        rest.push(chunk.subarray(skip));
        skip = 0;
      }
    }
    left = rest;
  }
}

/** Runs a write on the staging disk. Throws StagingFull, DiskFailed. */
export async function onStaging<T>(file: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    throw asDiskFailure(error, file);
  }
}
