import { Failure, isFailure } from '../../policies/failure.ts';
import { type BackupJson, backupJsonName, pointPrefix } from '../../policies/recovery-point.ts';
import { parseBackupJson } from '../artifact/index.ts';
import { sameDocument } from '../catalog/same-document.ts';
import { readBytes, type Store } from '../stores/index.ts';

export interface PointName {
  source: string;
  pointId: string;
  /** Public keys whose signature counts, base64. */
  trusted: string[];
}

/**
 * What a point was published as, by the stores that still hold its description whole. Throws Corrupt when two of them
 * hold different ones, both signed: that is for a person to look into. Throws PointUnknown when no store has it, and
 * what the store threw when one that could not be read may have it.
 */
export async function publishedAs(stores: Store[], { source, pointId, trusted }: PointName): Promise<BackupJson> {
  const key = pointPrefix(source, pointId) + backupJsonName;
  let found: { backup: BackupJson; store: string } | null = null;
  let unread: unknown;
  for (const store of stores) {
    let backup: BackupJson;
    try {
      backup = parseBackupJson(await readBytes(store, key), trusted);
    } catch (error) {
      if (isFailure(error, 'ObjectMissing', 'Corrupt', 'SignatureInvalid', 'FormatUnsupported')) continue;
      if (!isFailure(error, 'StoreUnreachable', 'StoreDenied', 'BucketMissing')) throw error;
      unread = error;
      continue;
    }
    // A whole point of another id that was laid here.
    if (backup.id !== pointId || backup.source.name !== source) continue;
    found ??= { backup, store: store.name };
    if (sameDocument(found.backup, backup)) continue;
    throw new Failure('Corrupt', `${found.store} and ${store.name} describe ${pointId} differently, both signed.`, {
      next: 'Nothing was changed. Find out who has the signing key; verify both copies, and remove the false one.',
    });
  }
  if (found) return found.backup;
  if (unread !== undefined) throw unread;
  throw new Failure('PointUnknown', `No store holds a description of ${pointId} that is whole and signed.`, {
    next: 'Nothing can be repaired without it. Run the backup again; older points are not concerned.',
  });
}
