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
  /** So much is written before the disk is told to begin with it: else all of it waits for the end. */
  syncEveryBytes?: number;
}

/** Begins a sealed object in a file of its own (0600), which must not be there yet. Throws StagingFull. */
export async function createSealedFile(options: SealedFileOptions): Promise<SealedFile> {
  const { syncEveryBytes = 64 * 1024 * 1024 } = options;
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
  let syncedBytes = 0;
  let syncing: Promise<void> | null = null;
  // The kernel tells of what it could not write once: whoever syncs next would take it for done.
  let lost: { error: unknown } | null = null;
  const syncBehind = () => {
    if (syncing || cipherBytes - syncedBytes < syncEveryBytes) return;
    syncedBytes = cipherBytes;
    syncing = onStaging(file, () => handle.datasync())
      .catch((error: unknown) => {
        lost = { error };
      })
      .finally(() => {
        syncing = null;
      });
  };
  const flush = async () => {
    if (lost) throw lost.error;
    const ready = chunks;
    chunks = [];
    if (ready.length === 0) return;
    await writeAll(handle, ready, file);
    for (const chunk of ready) giveBackChunk(chunk);
    syncBehind();
  };
  let closed = false;
  const close = async () => {
    if (closed) return;
    closed = true;
    await syncing;
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
      await syncing;
      if (lost) throw lost.error;
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
