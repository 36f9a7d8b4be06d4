import { Failure } from '../../policies/failure.ts';
import { backupJsonName, keyName, pointPrefix } from '../../policies/recovery-point.ts';
import { listKeys, parseBackupJson, readWrappedKey, type WrappedKey } from '../artifact/index.ts';
import { headOrNull, readBytes, type Store } from '../stores/index.ts';
import { type Held, orFailed, type Rekeyed, type RekeyedCopy, type WrapAnewOptions, wrapAnew } from './wrap-anew.ts';

export interface RekeyPointOptions extends WrapAnewOptions {
  /** Copies that may hold the point. */
  stores: Store[];
  source: string;
  id: string;
  /** Public keys whose signature counts. */
  trusted: string[];
}

export interface RekeyedPoint extends Rekeyed {
  pointId: string;
}

/**
 * Wraps a point's key anew for the recipients in every copy that holds it; see wrapAnew. Throws PointUnknown when no copy
 * holds it, and as wrapAnew.
 */
export async function rekeyPoint(options: RekeyPointOptions): Promise<RekeyedPoint> {
  const { stores, source, id } = options;
  const failed: RekeyedCopy[] = [];
  const held: Held[] = [];
  for (const store of stores) {
    const found = await orFailed(store, failed, () => readHeld(store, options));
    if (found) held.push(found);
  }
  const [first, ...others] = held;
  if (!first) {
    if (failed[0])
      throw new Failure('StoreUnreachable', failed[0].error ?? '', { next: 'Try again, or leave that copy out.' });
    throw new Failure('PointUnknown', `No copy holds a recovery point ${id} of ${source}.`, {
      next: '"backupctl backup list" shows the points and where each lies.',
    });
  }
  const { copies, ...rekeyed } = await wrapAnew([first, ...others], options);
  return { pointId: id, ...rekeyed, copies: [...copies, ...failed] };
}

/** Null when the copy does not hold the point. */
async function readHeld(store: Store, { trusted, id, source }: RekeyPointOptions): Promise<Held | null> {
  const prefix = pointPrefix(source, id);
  // A folder whose disk is away is not one that lacks the point.
  await store.check();
  const stored = await headOrNull(store, prefix + backupJsonName);
  if (stored === null) return null;
  const backup = parseBackupJson(await readBytes(store, prefix + backupJsonName), trusted);
  if (backup.id !== id || backup.source.name !== source) {
    throw new Failure('Corrupt', `${prefix}${backupJsonName} is that of ${backup.source.name}/${backup.id}.`, {
      next: 'Find out who laid it there.',
    });
  }
  const keys: WrappedKey[] = [];
  for (const name of await listKeys({ store, prefix }))
    keys.push(await readWrappedKey({ store, prefix, backup }, name));
  return {
    store,
    prefix,
    backup,
    keys,
    firstSha256: backup.objects.find((o) => o.role === 'key' && o.name === keyName)?.sha256 ?? null,
    metadata: { 'backup-date': backup.capturedAt, 'db-name': String(backup.facts.database ?? backup.source.name) },
    stored: async () => stored,
  };
}
