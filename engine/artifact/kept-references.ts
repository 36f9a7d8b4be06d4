import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { pointPrefix } from '../../policies/recovery-point.ts';
import { type ReferenceNote, readReferenceNote, referenceNames } from './reference.ts';

/** What a backup host keeps of the last points of each source, below its staging folder, for nobody else to read. */

interface PointName {
  source: string;
  pointId: string;
}

/** The newest that are kept, beside the newest full one and what the newest was compared with. */
const newestKept = 3;

/** Where the reference of a point is kept. */
export function referenceDir(staging: string, { source, pointId }: PointName): string {
  return path.join(staging, '.references', pointPrefix(source, pointId));
}

/** Takes over the reference of a point that was published from where it was sealed, and lets old ones go. Idempotent. */
export async function keepReference(staging: string, { from, ...point }: PointName & { from: string }): Promise<void> {
  const note = await readReferenceNote(from);
  if (note) {
    const dir = referenceDir(staging, point);
    await mkdir(dir, { recursive: true, mode: 0o700 });
    // The note last: without it, nothing counts.
    for (const name of referenceNames) await moveOnce(path.join(from, name), path.join(dir, name));
  }
  await letGo(path.dirname(referenceDir(staging, point)));
}

/** What an attempt that was killed has moved is not there any more. */
async function moveOnce(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

async function letGo(folder: string): Promise<void> {
  const notes = new Map<string, ReferenceNote | null>();
  for (const name of await namesIn(folder)) notes.set(name, await readReferenceNote(path.join(folder, name)));
  const known = [...notes.values()]
    .filter((n) => n !== null)
    .sort((a, b) => Date.parse(b.capturedAt) - Date.parse(a.capturedAt));
  const newest = known.slice(0, newestKept);
  const full = known.find((n) => n.level === 'full');
  const kept = new Set([...newest.map((n) => n.id), full?.id, known[0]?.parent]);
  for (const [name, note] of notes) {
    if (!kept.has(note?.id)) await rm(path.join(folder, name), { recursive: true, force: true });
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return [];
  }
}
