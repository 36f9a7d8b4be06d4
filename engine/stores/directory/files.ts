import { createHash } from 'node:crypto';
import { constants, createReadStream, type Stats } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** Facts about what lies there, links not followed; null when nothing does. */
export async function existing(file: string): Promise<Stats | null> {
  try {
    return await lstat(file);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '')) return null;
    throw error;
  }
}

/** Makes a folder below the root, and those between: never the root itself, for its disk may not be mounted. */
export async function ensureFolder(root: string, folder: string): Promise<void> {
  let at = root;
  for (const name of path.relative(root, folder).split(path.sep)) {
    const above = at;
    at = path.join(above, name);
    try {
      await mkdir(at, { mode: 0o700 });
      await syncFolder(above);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
  }
}

/** What is in a folder; nothing when it is not there. */
export async function entriesOf(folder: string) {
  try {
    return await readdir(folder, { withFileTypes: true, encoding: 'buffer' });
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Removes the folder and those above it, up to the root, as far as they are empty. */
export async function removeEmpty(folder: string, root: string): Promise<void> {
  for (let at = folder; at.startsWith(root + path.sep); at = path.dirname(at)) {
    try {
      await rmdir(at);
    } catch (error) {
      // EBUSY: another disk is mounted there.
      if (['ENOTEMPTY', 'ENOENT', 'ENOTDIR', 'EEXIST', 'EBUSY'].includes(codeOf(error) ?? '')) return;
      throw error;
    }
  }
}

/** Writes all of the chunk at the position. */
export async function writeAt(handle: FileHandle, chunk: Buffer, position: number): Promise<void> {
  let at = 0;
  while (at < chunk.length) {
    at += (await handle.write(chunk, at, chunk.length - at, position + at)).bytesWritten;
  }
}

const replacing = new Map<string, Promise<void>>();

/** Replaces a small file, whole or not at all, also when the power goes; by way of FILE.new, so one after the other. */
export async function replaceFile(file: string, text: string): Promise<void> {
  const before = replacing.get(file) ?? Promise.resolve();
  const mine = before
    // Its own caller is told of it.
    .catch(() => {})
    .then(async () => {
      await writeFile(`${file}.new`, text, { mode: 0o600, flush: true });
      await rename(`${file}.new`, file);
    });
  replacing.set(file, mine);
  try {
    await mine;
  } finally {
    if (replacing.get(file) === mine) replacing.delete(file);
  }
}

/** Idempotent. */
export async function removeFile(file: string): Promise<void> {
  await rm(file, { force: true });
  await rm(`${file}.new`, { force: true });
}

/** Makes what was linked or renamed in a folder outlive a loss of power. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a file's bytes outlive a loss of power. */
export async function syncFile(file: string): Promise<void> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** What the system calls an error, e.g. `ENOENT`. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  // The code of an AbortError is a number.
  return typeof code === 'string' ? code : undefined;
}

/** SHA-256 of a file's bytes, lower-case hex. */
export async function digest(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
