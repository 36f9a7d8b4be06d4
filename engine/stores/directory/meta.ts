import { readFile } from 'node:fs/promises';
import { codeOf, existing } from './files.ts';

/** What goes with an object, in a file beside it. */
export interface Meta {
  sha256: string | null;
  metadata: Record<string, string>;
  tags: Record<string, string>;
  storedMs: number | null;
}

export async function readMeta(file: string): Promise<Meta> {
  const about = await readMetaText(file);
  const { mtimeMs } = (await existing(file)) ?? { mtimeMs: null };
  return {
    sha256: typeof about.sha256 === 'string' ? about.sha256 : null,
    metadata: (about.metadata as Record<string, string> | undefined) ?? {},
    tags: (about.tags as Record<string, string> | undefined) ?? {},
    // The object itself may be a link to an older file.
    storedMs: typeof about.storedMs === 'number' ? about.storedMs : mtimeMs,
  };
}

export async function readMetaText(file: string): Promise<Record<string, unknown>> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    // An object laid here by hand has none.
    if (codeOf(error) === 'ENOENT') return {};
    throw error;
  }
}
