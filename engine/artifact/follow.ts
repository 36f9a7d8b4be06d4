import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { artifactNames, type SealedObject, type SealedPoint } from '../../policies/recovery-point.ts';
import type { GrowingFile } from '../stores/index.ts';
import { parseSealedJson } from './backup-json.ts';
import { objectOf } from './reader.ts';
import { sealedJsonName } from './writer.ts';

/** The artifact of a point that is being sealed on this host, by whatever process. */
export interface FollowedArtifact extends GrowingFile {
  /** Of the object within its point. */
  readonly name: string;
  close(): Promise<void>;
}

/** What was followed is gone: the point is being sealed afresh, or not at all. */
export class SealingGone extends Error {
  constructor(file: string) {
    super(`${file} is no longer what is being sealed`);
    this.name = 'SealingGone';
  }
}

const lookEveryMs = 40;
const chunkBytes = 1024 * 1024;

/**
 * Waits until a point is being sealed into the folder, or has been, and follows its artifact; null when that has not
 * begun in time. Every attempt at sealing makes a file of its own: `reach` throws SealingGone when the one that is
 * followed is not the one that counts.
 */
export async function followSealing(
  dir: string,
  { signal, beginsWithinMs }: { signal: AbortSignal; beginsWithinMs: number },
): Promise<FollowedArtifact | null> {
  const until = performance.now() + beginsWithinMs;
  for (;;) {
    signal.throwIfAborted();
    for (const name of Object.values(artifactNames)) {
      const handle = await openIfThere(path.join(dir, name));
      if (handle) return follow(dir, name, handle);
    }
    if (performance.now() >= until) return null;
    await setTimeout(lookEveryMs, undefined, { signal });
  }
}

function follow(dir: string, name: string, handle: FileHandle): FollowedArtifact {
  const file = path.join(dir, name);
  let seenBytes = 0;
  let whole: SealedObject | null = null;
  return {
    name,
    path: file,
    async reach(bytes, signal) {
      for (;;) {
        signal?.throwIfAborted();
        // What was seen does not change any more; it is looked at anew for what comes after it.
        if (whole || bytes <= seenBytes) return whole;
        // In this order: what is sealed does not grow any more, and what is replaced was not sealed.
        const sealed = await readSealed(dir);
        const { size, ino, dev } = await handle.stat({ bigint: true });
        const now = await statIfThere(file);
        if (now?.ino !== ino || now.dev !== dev) throw new SealingGone(file);
        seenBytes = Number(size);
        whole = sealed && objectOf(sealed, 'artifact');
        if (whole || bytes <= seenBytes) return whole;
        await setTimeout(lookEveryMs, undefined, signal ? { signal } : {});
      }
    },
    open: (offset, length) => Readable.from(stretch(handle, offset, length), { objectMode: false }),
    close: () => handle.close(),
  };
}

async function* stretch(handle: FileHandle, offset: number, length: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < length; ) {
    const chunk = Buffer.allocUnsafeSlow(Math.min(chunkBytes, length - at));
    const { bytesRead } = await handle.read(chunk, 0, chunk.length, offset + at);
    if (bytesRead === 0) return;
    yield chunk.subarray(0, bytesRead);
    at += bytesRead;
  }
}

async function readSealed(dir: string): Promise<SealedPoint | null> {
  const bytes = await ifThere(() => readFile(path.join(dir, sealedJsonName)));
  return bytes === null ? null : parseSealedJson(bytes);
}

const openIfThere = (file: string) => ifThere(() => open(file, 'r'));
const statIfThere = (file: string) => ifThere(() => stat(file, { bigint: true }));

async function ifThere<T>(look: () => Promise<T>): Promise<T | null> {
  try {
    return await look();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
