import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { lsnOf, lsnText, type WalRange } from '../../../policies/wal.ts';
import { parseWalKey, walPrefix } from '../../../policies/wal-bundle.ts';

/**
 * WAL on the staging disk of its host, between sealing and the copies: laid out like a store, one folder per source,
 * below a name with a dot, so that it is no staged point. What all copies have is noted, then removed.
 */
export function walStaging(staging: string, source: string): string {
  return path.join(staging, '.wal', source);
}

const shippedName = 'shipped.json';

const shippedDocument = z.strictObject({
  timeline: z.int(),
  end: z.string(),
  /** ISO-8601, the server's clock: what was committed before lies in all copies. */
  until: z.iso.datetime(),
  /** ISO-8601, this machine's clock. */
  at: z.iso.datetime(),
});

/** How far all copies have the WAL. */
export interface Shipped extends Pick<WalRange, 'timeline' | 'end' | 'until'> {
  /** When the last of it was uploaded. */
  at: string;
}

/** Null when nothing was shipped from here yet. */
export async function readShipped(root: string): Promise<Shipped | null> {
  try {
    const { end, ...rest } = shippedDocument.parse(JSON.parse(await readFile(path.join(root, shippedName), 'utf8')));
    return { ...rest, end: lsnOf(end) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

export async function noteShipped(root: string, { end, ...rest }: Shipped): Promise<void> {
  const file = path.join(root, shippedName);
  await writeFile(`${file}.new`, JSON.stringify({ ...rest, end: lsnText(end) }), { mode: 0o600 });
  await rename(`${file}.new`, file);
}

/** Keys of what is staged, those of a timeline together, by where they begin. */
export async function stagedKeys(root: string, source: string): Promise<string[]> {
  const below = path.join(root, walPrefix(source));
  const entries = await readdir(below, { recursive: true, withFileTypes: true }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    },
  );
  return entries
    .filter((e) => e.isFile())
    .map((e) => path.relative(root, path.join(e.parentPath, e.name)))
    .filter((key) => parseWalKey(source, key) !== null)
    .sort();
}

/** Removes what an attempt that was killed had half sealed. */
export async function discardUnsealed(root: string): Promise<void> {
  await rm(path.join(root, '.wal'), { recursive: true, force: true });
}
