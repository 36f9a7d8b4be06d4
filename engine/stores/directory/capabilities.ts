import path from 'node:path';
import type { StoreCapabilities } from '../store.ts';
import type { Place } from './disk.ts';
import { codeOf, ensureFolder } from './files.ts';
import { assertPlace } from './guard.ts';
import { pendingPath, probeToken, removeOldProbes } from './pending.ts';

/** Tries what not every file system and user can: to write, and to give a file a second name. */
export async function findCapabilities(place: Place): Promise<StoreCapabilities> {
  await assertPlace(place);
  const { root, disk } = place;
  const unable = (error: unknown, ...codes: string[]) => {
    if (codes.includes(codeOf(error) ?? '')) return false;
    throw error;
  };
  const file = pendingPath(root, probeToken()) ?? '';
  const writes = await ensureFolder(place, path.dirname(file))
    .then(() => disk.open(file, 'wx'))
    .then((made) => made.close())
    .then(
      () => true,
      (error) => unable(error, 'EACCES', 'EPERM', 'EROFS'),
    );
  if (!writes) return { ...nothing };
  try {
    await removeOldProbes(place);
    const links = await disk.link(file, `${file}.json`).then(
      () => true,
      (error) => unable(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP'),
    );
    return { ...nothing, conditionalPut: links, checksums: true, resume: true, tags: true, metadata: true };
  } finally {
    await disk.rm(`${file}.json`);
    await disk.rm(file);
  }
}

const nothing: StoreCapabilities = {
  conditionalPut: false,
  checksums: false,
  resume: false,
  tags: false,
  metadata: false,
  storageClass: false,
  sse: false,
  lock: false,
  versioning: false,
};
