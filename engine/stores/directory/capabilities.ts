import { link, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { StoreCapabilities } from '../store.ts';
import { codeOf, ensureFolder } from './files.ts';
import { assertPlace, type Place } from './guard.ts';
import { pendingPath, probeToken, removeOldProbes } from './pending.ts';

/** Tries what not every file system and user can: to write, and to give a file a second name. */
export async function findCapabilities(place: Place): Promise<StoreCapabilities> {
  await assertPlace(place);
  const unable = (error: unknown, ...codes: string[]) => {
    if (codes.includes(codeOf(error) ?? '')) return false;
    throw error;
  };
  const file = pendingPath(place.root, probeToken()) ?? '';
  const writes = await ensureFolder(place.root, path.dirname(file))
    .then(() => writeFile(file, '', { mode: 0o600, flag: 'wx' }))
    .then(
      () => true,
      (error) => unable(error, 'EACCES', 'EPERM', 'EROFS'),
    );
  if (!writes) return { ...nothing };
  try {
    await removeOldProbes(place.root);
    const links = await link(file, `${file}.json`).then(
      () => true,
      (error) => unable(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP'),
    );
    return { ...nothing, conditionalPut: links, checksums: true, resume: true, tags: true, metadata: true };
  } finally {
    await rm(`${file}.json`, { force: true });
    await rm(file, { force: true });
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
