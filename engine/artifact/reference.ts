import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { level, type SourceFacts, sourceFacts } from '../../policies/recovery-point.ts';
import { decodeManifest } from './manifest.ts';
import { manifestLines } from './manifest-lines.ts';
import { onStaging } from './sealed-file.ts';
import type { ArtifactName, EntryWithBlocks } from './types.ts';

/**
 * What the next point can be compared with: the manifest of one point as it was before it was encrypted. A backup host
 * holds no identity, so it cannot open the manifest in a store. It holds names, times and hashes, no contents; it never
 * leaves the machine.
 */

const referenceName = 'reference.ndjson.zst';
const noteName = 'reference.json';
export const referenceNames = [referenceName, noteName];

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const referenceNote = z.object({
  /** The point's. */
  id: z.string(),
  level,
  parent: z.string().nullable(),
  capturedAt: z.iso.datetime(),
  facts: sourceFacts,
  /** SHA-256 of the sealed manifest that lies in the stores: ties the one to the other. */
  manifest: sha256,
  /** Of the reference itself. */
  sha256,
});
export type ReferenceNote = z.infer<typeof referenceNote>;

export interface ReferenceFile {
  write(compressed: Uint8Array): Promise<void>;
  finish(note: Omit<ReferenceNote, 'sha256'>): Promise<void>;
  close(): Promise<void>;
}

/** Begins a reference in a folder. Throws StagingFull. */
export async function createReferenceFile(dir: string): Promise<ReferenceFile> {
  const file = path.join(dir, referenceName);
  const handle = await open(file, 'wx', 0o600);
  const hash = createHash('sha256');
  let isOpen = true;
  const close = async () => {
    if (!isOpen) return;
    isOpen = false;
    await handle.close();
  };
  return {
    async write(compressed) {
      hash.update(compressed);
      await onStaging(file, () => handle.writeFile(compressed));
    },
    async finish(note) {
      await onStaging(file, () => handle.sync());
      await close();
      const text = JSON.stringify({ ...note, sha256: hash.digest('hex') });
      const noteFile = path.join(dir, noteName);
      await onStaging(noteFile, () => writeFile(noteFile, text, { mode: 0o600, flag: 'wx', flush: true }));
    },
    close,
  };
}

/** An earlier point, as far as a later one is compared with it. */
export interface Base {
  id: string;
  /** ISO-8601: when reading it began. */
  capturedAt: string;
  /** Of its source, as it was. */
  facts: SourceFacts;
  /** Its own artifact first. */
  artifacts: ArtifactName[];
  /** Sorted by path. Each call reads it anew. */
  entries(): AsyncGenerator<EntryWithBlocks>;
}

/** The note of the reference in a folder; null when there is none, or none that can be read. */
export async function readReferenceNote(dir: string): Promise<ReferenceNote | null> {
  try {
    return referenceNote.parse(JSON.parse(await readFile(path.join(dir, noteName), 'utf8')));
  } catch (error) {
    const isMissing = ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '');
    if (isMissing || error instanceof SyntaxError || error instanceof z.ZodError) return null;
    throw error;
  }
}

/**
 * Opens the reference in a folder, if it is that of this very point, whole and unharmed; otherwise says in words what
 * is wrong with it.
 */
export async function openReference(
  dir: string,
  point: { id: string; manifest: string },
): Promise<Base | { problem: string }> {
  const note = await readReferenceNote(dir);
  if (!note) return { problem: `this host has kept nothing to compare with ${point.id}` };
  if (note.id !== point.id || note.manifest !== point.manifest) {
    return { problem: `what this host has kept of ${point.id} is not what the catalog knows of it` };
  }
  const file = path.join(dir, referenceName);
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(file, { highWaterMark: 1024 * 1024 }), hash);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return { problem: `this host has kept nothing to compare with ${point.id}` };
  }
  if (hash.digest('hex') !== note.sha256) return { problem: `what this host has kept of ${point.id} is damaged` };
  const read = () =>
    decodeManifest(manifestLines(createReadStream(file, { highWaterMark: 4 * 1024 * 1024 }))[Symbol.asyncIterator]());
  const { header, entries } = await read();
  await entries.return(undefined);
  return {
    id: note.id,
    capturedAt: note.capturedAt,
    facts: note.facts,
    artifacts: header.artifacts,
    async *entries() {
      yield* (await read()).entries;
    },
  };
}
