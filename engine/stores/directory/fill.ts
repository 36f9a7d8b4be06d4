import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, open, rm } from 'node:fs/promises';
import { Failure } from '../../../policies/failure.ts';
import type { PutOptions, PutSource } from '../store.ts';
import { codeOf, writeAll } from './files.ts';

export async function linked(source: PutSource, file: string): Promise<boolean> {
  if (!('path' in source) || typeof source.path !== 'string') return false;
  try {
    await rm(file, { force: true });
    await link(source.path, file);
    return true;
  } catch (error) {
    // Another file system, or one without links: the bytes are copied.
    if (['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP'].includes(codeOf(error) ?? '')) return false;
    throw error;
  }
}

/** Writes the source's bytes into a pending file, after those that an earlier attempt left there. */
export async function fill(
  store: string,
  file: string,
  source: PutSource,
  token: string,
  options: PutOptions,
): Promise<void> {
  const hash = createHash('sha256');
  const handle = await open(file, 'a+', 0o600);
  try {
    // What an earlier attempt wrote is read, not trusted: power may have gone before it reached the disk.
    let done = Math.min((await handle.stat()).size, source.bytes);
    await handle.truncate(done);
    if (done > 0) {
      for await (const chunk of createReadStream(file, { end: done - 1 })) hash.update(chunk as Buffer);
    }
    for await (const chunk of source.open(done, source.bytes - done) as AsyncIterable<Buffer>) {
      options.signal?.throwIfAborted();
      hash.update(chunk);
      await writeAll(handle, chunk);
      done += chunk.length;
      options.onProgress?.({ bytesDone: done, bytesTotal: source.bytes, resume: token });
    }
    await handle.sync();
    const sha256 = hash.digest('hex');
    if (done !== source.bytes || sha256 !== source.sha256) {
      await rm(file, { force: true });
      await rm(`${file}.json`, { force: true });
      throw new Failure(
        'ChecksumMismatch',
        `What arrived in ${store} has ${done} bytes and SHA-256 ${sha256}; ${source.bytes} and ${source.sha256} were promised.`,
        {
          next: 'Nothing was stored. Look at the source of the copy; it is tried again by itself.',
        },
      );
    }
  } finally {
    await handle.close();
  }
}
