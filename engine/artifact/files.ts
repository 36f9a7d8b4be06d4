import { open, rename, rm } from 'node:fs/promises';
import path from 'node:path';

/** Removes the named files of a folder; those that are not there do not matter. */
export async function removeFiles(dir: string, names: string[]): Promise<void> {
  for (const name of names) await rm(path.join(dir, name), { force: true });
}

/** Renames, and makes the folder's entries durable. */
export async function syncDirectory(dir: string, { rename: pair }: { rename: [string, string] }): Promise<void> {
  await rename(pair[0], pair[1]);
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
