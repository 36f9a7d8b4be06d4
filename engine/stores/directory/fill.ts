import { createHash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { link, open, rm } from 'node:fs/promises';
import { Failure } from '../../../policies/failure.ts';
import type { FilePutSource } from '../put-source.ts';
import type { PutOptions, PutSource } from '../store.ts';
import { codeOf, existing, syncFile, writeAt } from './files.ts';

/**
 * Makes the pending file another name of the source's own, where the source is a file of the same file system. Sources
 * are immutable and every copy is read back anyway, so that only the length is looked at. False: it has to be copied.
 */
export async function linked(place: string, source: PutSource, file: string): Promise<boolean> {
  if (!isFileSource(source)) return false;
  const found = await existing(source.path);
  if (!found?.isFile()) return false;
  if (found.size !== source.bytes) throw notAsPromised(place, source, `${found.size} bytes`);
  try {
    await rm(file, { force: true });
    await link(source.path, file);
  } catch (error) {
    // Another file system, one without links, or a file that this user may not link: the bytes are copied.
    if (['EXDEV', 'EPERM', 'EACCES', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP'].includes(codeOf(error) ?? '')) return false;
    throw error;
  }
  await syncFile(file);
  return true;
}

/** Writes the source's bytes into a pending file, after those that an earlier attempt left there. */
export async function fill(
  place: string,
  file: string,
  source: PutSource,
  token: string,
  options: PutOptions,
): Promise<void> {
  // A file of more than one name is somebody's: a linked source, or an object that was published.
  if (((await existing(file))?.nlink ?? 1) > 1) await rm(file);
  const hash = createHash('sha256');
  const handle = await open(file, constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    const { size } = await handle.stat();
    let done = Math.min(size, source.bytes);
    if (size > done) await handle.truncate(done);
    const report = () => options.onProgress?.({ bytesDone: done, bytesTotal: source.bytes, resume: token });
    // What an earlier attempt wrote is read, not trusted: power may have gone before it reached the disk.
    if (done > 0) {
      for await (const chunk of createReadStream(file, { end: done - 1, highWaterMark: 1024 * 1024 })) {
        options.signal?.throwIfAborted();
        hash.update(chunk as Buffer);
      }
    }
    report();
    for await (const chunk of source.open(done, source.bytes - done) as AsyncIterable<Buffer>) {
      options.signal?.throwIfAborted();
      if (done + chunk.length > source.bytes) throw notAsPromised(place, source, 'more bytes');
      hash.update(chunk);
      // At its position: should an attempt that was given up still be writing, it writes the same bytes.
      await writeAt(handle, chunk, done);
      done += chunk.length;
      report();
    }
    const sha256 = hash.digest('hex');
    if (done !== source.bytes || sha256 !== source.sha256) {
      throw notAsPromised(place, source, `${done} bytes with SHA-256 ${sha256}`);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function isFileSource(source: PutSource): source is FilePutSource {
  return 'path' in source && typeof source.path === 'string';
}

function notAsPromised(place: string, source: PutSource, found: string): Failure {
  return new Failure(
    'ChecksumMismatch',
    `${place}: ${found} arrived; ${source.bytes} bytes with SHA-256 ${source.sha256} were promised.`,
    { next: 'Nothing was stored. Look at the source of the copy; it is tried again by itself.' },
  );
}
