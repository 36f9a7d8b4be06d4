import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import path from 'node:path';
import { Failure } from '../../../policies/failure.ts';
import { giveBackChunk } from '../../give-back.ts';
import { arriving, type FilePutSource, factsOf, type GrowingFile, isGrowing } from '../put-source.ts';
import type { GrowingSource, ObjectFacts, PutOptions, PutSource } from '../store.ts';
import type { Disk } from './disk.ts';
import { codeOf, existing, syncFile, writeAt } from './files.ts';
import { readStream } from './read-stream.ts';

/** The pending file that bytes go into. */
export interface Filling {
  disk: Disk;
  file: string;
  token: string;
  /** Store and key, as messages name them. */
  said: string;
}

/**
 * Makes the pending file another name of the source's own, where the source is a file of the same file system. Sources
 * are immutable and every copy is read back anyway, so that only the length is looked at. False: it has to be copied.
 */
export async function linked(
  { disk, file, said }: Filling,
  source: PutSource | GrowingSource,
  signal?: AbortSignal,
): Promise<boolean> {
  if (!isFileSource(source)) return false;
  const begun = await existing(disk, source.path);
  // One that has to be copied is copied while it grows; one that will be linked is waited for.
  if (!begun?.isFile() || begun.dev !== (await existing(disk, path.dirname(file)))?.dev) return false;
  const facts = await factsOf(source, signal);
  const found = await existing(disk, source.path);
  if (found?.size !== facts.bytes) throw notAsPromised(said, facts, `${found?.size ?? 0} bytes`);
  try {
    await disk.rm(file);
    await disk.link(source.path, file);
  } catch (error) {
    // Another file system, one without links, or a file that this user may not link: the bytes are copied.
    if (['EXDEV', 'EPERM', 'EACCES', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP'].includes(codeOf(error) ?? '')) return false;
    throw error;
  }
  await syncFile(disk, file);
  return true;
}

/** Writes the source's bytes into a pending file, after those that an earlier attempt left there. */
export async function fill(
  { disk, file, token, said }: Filling,
  source: PutSource | GrowingSource,
  options: PutOptions,
): Promise<void> {
  const { signal } = options;
  // A file of more than one name is somebody's: a linked source, or an object that was published.
  if (((await existing(disk, file))?.nlink ?? 1) > 1) await disk.rm(file);
  const hash = createHash('sha256');
  const opened = await disk.open(file, constants.O_RDWR | constants.O_CREAT);
  try {
    const { size } = await opened.stat();
    const known = isGrowing(source) ? await source.reach(size, signal) : source;
    let done = Math.min(size, known?.bytes ?? size);
    if (size > done) await opened.truncate(done);
    const report = () => options.onProgress?.({ bytesDone: done, bytesTotal: known?.bytes ?? 0, resume: token });
    // What an earlier attempt wrote is read, not trusted: power may have gone before it reached the disk.
    if (done > 0) {
      for await (const chunk of readStream(await disk.open(file, 'r'), { end: done })) {
        signal?.throwIfAborted();
        hash.update(chunk as Buffer);
        giveBackChunk(chunk as Buffer);
      }
    }
    report();
    for await (const chunk of arriving(source, done, signal)) {
      signal?.throwIfAborted();
      if (known && done + chunk.length > known.bytes) throw notAsPromised(said, known, 'more bytes');
      hash.update(chunk);
      // At its position: should an attempt that was given up still be writing, it writes the same bytes.
      await writeAt(opened, chunk, done);
      done += chunk.length;
      giveBackChunk(chunk);
      report();
    }
    const sha256 = hash.digest('hex');
    const promised = await factsOf(source, signal);
    if (done !== promised.bytes || sha256 !== promised.sha256) {
      throw notAsPromised(said, promised, `${done} bytes with SHA-256 ${sha256}`);
    }
    await opened.sync();
  } finally {
    await opened.close();
  }
}

function isFileSource(source: PutSource | GrowingSource): source is FilePutSource | GrowingFile {
  return 'path' in source && typeof source.path === 'string';
}

function notAsPromised(place: string, promised: ObjectFacts, found: string): Failure {
  return new Failure(
    'ChecksumMismatch',
    `${place}: ${found} arrived; ${promised.bytes} bytes with SHA-256 ${promised.sha256} were promised.`,
    { next: 'Nothing was stored. Look at the source of the copy; it is tried again by itself.' },
  );
}
