import { createHash } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import path from 'node:path';
import { giveBackChunk } from '../../give-back.ts';
import type { Disk, OpenFile, Place } from './disk.ts';
import { readStream } from './read-stream.ts';

/** Facts about what lies there, links not followed; null when nothing does. */
export async function existing(disk: Disk, file: string): Promise<Stats | null> {
  try {
    return await disk.lstat(file);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '')) return null;
    throw error;
  }
}

/** Makes a folder below the root, and those between: never the root itself, for its disk may not be mounted. */
export async function ensureFolder({ root, disk }: Place, folder: string): Promise<void> {
  let at = root;
  for (const name of path.relative(root, folder).split(path.sep)) {
    const above = at;
    at = path.join(above, name);
    try {
      await disk.mkdir(at);
      await syncFolder(disk, above);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
  }
}

/** What is in a folder; nothing when it is not there. */
export async function entriesOf(disk: Disk, folder: string) {
  try {
    return await disk.readdir(folder);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Removes the folder and those above it, up to the root, as far as they are empty. */
export async function removeEmpty({ root, disk }: Place, folder: string): Promise<void> {
  for (let at = folder; at.startsWith(root + path.sep); at = path.dirname(at)) {
    try {
      await disk.rmdir(at);
    } catch (error) {
      // EBUSY: another disk is mounted there.
      if (['ENOTEMPTY', 'ENOENT', 'ENOTDIR', 'EEXIST', 'EBUSY'].includes(codeOf(error) ?? '')) return;
      throw error;
    }
  }
}

/** Writes all of the chunk at the position. */
export async function writeAt(file: OpenFile, chunk: Buffer, position: number): Promise<void> {
  let at = 0;
  while (at < chunk.length) {
    at += await file.write(chunk.subarray(at), position + at);
  }
}

const replacing = new Map<string, Promise<void>>();

/** Replaces a small file, whole or not at all, also when the power goes; by way of FILE.new, so one after the other. */
export async function replaceFile(disk: Disk, file: string, text: string): Promise<void> {
  const before = replacing.get(file) ?? Promise.resolve();
  const mine = before
    // Its own caller is told of it.
    .catch(() => {})
    .then(async () => {
      await writeFile(disk, `${file}.new`, text);
      await disk.rename(`${file}.new`, file);
    });
  replacing.set(file, mine);
  try {
    await mine;
  } finally {
    if (replacing.get(file) === mine) replacing.delete(file);
  }
}

/** Outlives a loss of power. */
async function writeFile(disk: Disk, file: string, text: string): Promise<void> {
  const opened = await disk.open(file, 'w');
  try {
    await writeAt(opened, Buffer.from(text), 0);
    await opened.sync();
  } finally {
    await opened.close();
  }
}

/** Idempotent. */
export async function removeFile(disk: Disk, file: string): Promise<void> {
  await disk.rm(file);
  await disk.rm(`${file}.new`);
}

/** Makes what was linked or renamed in a folder outlive a loss of power. */
export async function syncFolder(disk: Disk, folder: string): Promise<void> {
  await sync(await disk.open(folder, 'r'));
}

/** Makes a file's bytes outlive a loss of power. */
export async function syncFile(disk: Disk, file: string): Promise<void> {
  await sync(await disk.open(file, constants.O_RDONLY | constants.O_NOFOLLOW));
}

async function sync(opened: OpenFile): Promise<void> {
  try {
    await opened.sync();
  } finally {
    await opened.close();
  }
}

/** What the system calls an error, e.g. `ENOENT`. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  // The code of an AbortError is a number.
  return typeof code === 'string' ? code : undefined;
}

/** SHA-256 of a file's bytes, lower-case hex. */
export async function digest(disk: Disk, file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of readStream(await disk.open(file, 'r'))) {
    hash.update(chunk as Buffer);
    giveBackChunk(chunk as Buffer);
  }
  return hash.digest('hex');
}
