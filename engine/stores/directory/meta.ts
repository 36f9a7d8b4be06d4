import { createHash } from 'node:crypto';
import path from 'node:path';
import type { Disk, Place } from './disk.ts';
import { codeOf, ensureFolder, removeFile, replaceFile } from './files.ts';

/** What goes with an object, in a file of its own. */
export interface Meta {
  sha256: string | null;
  metadata: Record<string, string>;
  tags: Record<string, string>;
  /** When the object was put; the object itself may be a link to an older file. */
  storedMs: number | null;
}

const metaName = '.meta';

/** Where an object's Meta lies: under the hash of its key, for beside each other names would collide or get too long. */
export function metaPath(root: string, key: string): string {
  return path.join(root, metaName, `${createHash('sha256').update(key).digest('hex')}.json`);
}

/** An object laid here by hand has none, and half a file is none: then everything is unknown. */
export async function readMeta({ root, disk }: Place, key: string): Promise<Meta> {
  const about = await readJson(disk, metaPath(root, key));
  return {
    sha256: typeof about?.sha256 === 'string' ? about.sha256 : null,
    metadata: (about?.metadata as Record<string, string> | undefined) ?? {},
    tags: (about?.tags as Record<string, string> | undefined) ?? {},
    storedMs: typeof about?.storedMs === 'number' ? about.storedMs : null,
  };
}

export async function writeMeta(place: Place, key: string, meta: Meta): Promise<void> {
  await ensureFolder(place, path.join(place.root, metaName));
  await replaceFile(place.disk, metaPath(place.root, key), JSON.stringify({ key, ...meta }));
}

export async function removeMeta({ root, disk }: Place, key: string): Promise<void> {
  await removeFile(disk, metaPath(root, key));
}

/** Null when the file is not there, or is no JSON object. */
export async function readJson(disk: Disk, file: string): Promise<Record<string, unknown> | null> {
  try {
    const parsed: unknown = JSON.parse(await disk.readText(file));
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : null;
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || error instanceof SyntaxError) return null;
    throw error;
  }
}
