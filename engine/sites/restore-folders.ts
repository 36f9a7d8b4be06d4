import { readlink, realpath } from 'node:fs/promises';
import path from 'node:path';
import { Failure } from '../../policies/failure.ts';

/**
 * Throws TargetUnusable when a restore would write elsewhere than below one of the folders, wherever symbolic links
 * lead: an earlier restore may have brought them. No folders: anywhere.
 *
 * @param place absolute; it need not exist
 */
export async function assertWithin(place: string, folders: string[]): Promise<void> {
  if (folders.length === 0) return;
  const real = await realPlace(path.resolve(place));
  for (const folder of folders) {
    const below = path.relative(await realPlace(path.resolve(folder)), real);
    if (below !== '' && below !== '..' && !below.startsWith(`..${path.sep}`)) return;
  }
  const there = real === path.resolve(place) ? place : `${place} (which is ${real})`;
  throw new Failure(
    'TargetUnusable',
    `The policy lets no restore write to ${there}, but below ${folders.join(', ')}.`,
    {
      next: 'Restore to a folder there, or add another to restoreFolders in the policy file and restart the recovery worker.',
    },
  );
}

/** With the links resolved of as much of it as exists. */
async function realPlace(place: string): Promise<string> {
  try {
    return await realpath(place);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || path.dirname(place) === place) throw error;
    const above = await realPlace(path.dirname(place));
    const target = await linkTarget(place);
    return target === null ? path.join(above, path.basename(place)) : realPlace(path.resolve(above, target));
  }
}

/** Where a link leads that leads to nothing yet; null for what is no link. */
async function linkTarget(place: string): Promise<string | null> {
  try {
    return await readlink(place);
  } catch (error) {
    if (['ENOENT', 'EINVAL'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
}
