import { listKeys, parseBackupJson } from '../engine/artifact/index.ts';
import { pointsInStores } from '../engine/catalog/index.ts';
import { type RemovedKeys, removeFormerKeys, removeFormerWalKeys } from '../engine/keys/index.ts';
import { readBytes, type Store } from '../engine/stores/index.ts';
import { durationSeconds } from '../policies/duration.ts';
import { Failure, isFailure } from '../policies/failure.ts';
import type { CopyPolicy, Policy } from '../policies/policy.ts';
import { type BackupJson, backupJsonName, pointPrefix } from '../policies/recovery-point.ts';
import type { Refusal } from '../policies/repair.ts';
import type { WalExpired } from '../workflows/contracts.ts';
import { type ExpiredPoint, type ExpireRequest, expirePoints } from './expire-points.ts';
import { type ExpireWalRequest, expireWal } from './expire-wal.ts';
import { runActivity } from './failure.ts';
import type { FormerKeys } from './rekey.ts';
import type { FormerWalKeys } from './rekey-wal.ts';
import { type ObjectsOfCopy, removeDamaged } from './remove-damaged.ts';
import { assertNotHeld, removePoint } from './remove-point.ts';
import { storesOf } from './stores-of.ts';

/** What a retention worker is given: store credentials that get, list and delete. It alone can remove anything. */
export interface RetentionDependencies {
  policy: Policy;
  store(copy: string): Promise<Store>;
}

/** One recovery point in one store. */
export interface CopyOfPoint {
  source: string;
  pointId: string;
  copy: string;
}

/** What became of the former keys of one copy of a point. */
export interface RevokedKeys extends RemovedKeys {
  pointId: string;
  copy: string;
}

/** The same of one copy of an object of WAL. */
export interface RevokedWalKeys extends RemovedKeys {
  key: string;
  copy: string;
}

export type RetentionActivities = ReturnType<typeof createRetentionActivities>;

/**
 * Removes from the stores. Whoever reaches the queue may ask for anything, so nothing that is asked is believed: what
 * may go is decided here, by the policy and by what the stores hold.
 */
export function createRetentionActivities(deps: RetentionDependencies) {
  const { policy } = deps;
  const { trusted, recipients } = policy.keys;
  const revoking = { trusted, recipients };

  return {
    /**
     * Removes what an attempt left of a copy that was not finished. A copy that was published is finished, whatever
     * became of the answer: it stays, and is told. Idempotent.
     */
    withdrawCopy: ({ source, pointId, copy }: CopyOfPoint): Promise<{ published: boolean }> =>
      runActivity('withdraw', async () => {
        const store = await deps.store(copy);
        const prefix = pointPrefix(source, pointId);
        if (await publishedPoint(store, prefix, pointId, trusted)) return { published: true };
        await removePoint(store, prefix);
        return { published: false };
      }),

    /**
     * Removes one copy that is older, by the store's clock, than the policy keeps it there, and that no legal hold is
     * on, once each of the other copies has shown that it holds the whole point. Idempotent.
     */
    pruneCopy: ({ source, pointId, copy }: CopyOfPoint): Promise<void> =>
      runActivity('prune', async () => {
        const { pruneAfter, others } = prunable(policy, copy);
        const store = await deps.store(copy);
        const prefix = pointPrefix(source, pointId);
        await assertOlder(store, prefix, pruneAfter);
        await assertNotHeld(store, prefix);
        await assertNotNeeded(store, { source, pointId, trusted });
        for (const { name } of others) {
          const other = await deps.store(name);
          await assertHolds(other, prefix, pointId, trusted);
          await assertNotHeld(other, prefix);
        }
        await removePoint(store, prefix);
      }),

    /** Removes objects that are damaged, so that they can be put again. See removeDamaged. Idempotent. */
    removeDamaged: (asked: ObjectsOfCopy): Promise<Refusal[]> =>
      runActivity('remove damaged', async (tools) =>
        removeDamaged(await storesOf(deps, asked.copy), trusted, asked, tools),
      ),

    /**
     * Removes points from all copies, in the order given: those that nothing keeps, by what the stores hold now.
     * Resolves to what became of each; what was refused lies there as before. Throws StoreUnreachable, and then has
     * perhaps removed some: idempotent.
     */
    expirePoints: (request: ExpireRequest): Promise<ExpiredPoint[]> =>
      runActivity('expire', ({ report, signal }) => expirePoints(deps, request, { report, signal })),

    /**
     * Takes away the former wrapped keys of points, each once the one that stays is there as it was opened, and is for
     * the policy's present recipients; what is held or locked stays, and is told. Idempotent.
     */
    removeKeys: ({ source, former }: { source: string; former: FormerKeys[] }): Promise<RevokedKeys[]> =>
      runActivity('revoke', async ({ report, signal }) => {
        const outcomes: RevokedKeys[] = [];
        for (const { pointId, copy, keep } of former) {
          signal.throwIfAborted();
          const remove = async (store: Store) => {
            await assertNotHeld(store, pointPrefix(source, pointId));
            return removeFormerKeys({ ...revoking, store, source, id: pointId, keep });
          };
          outcomes.push({ pointId, copy, ...(await toldWhy(copy, remove)) });
          report({ entriesDone: outcomes.length });
        }
        return outcomes;
      }),

    /** The same for wrapped keys that lie beside objects of WAL. */
    removeWalKeys: ({ source, former }: { source: string; former: FormerWalKeys[] }): Promise<RevokedWalKeys[]> =>
      runActivity('revoke', async ({ report, signal }) => {
        const outcomes: RevokedWalKeys[] = [];
        for (const { key, copies, keep } of former) {
          for (const copy of copies) {
            signal.throwIfAborted();
            const remove = async (store: Store) => removeFormerWalKeys({ ...revoking, store, source, key, keep });
            outcomes.push({ key, copy, ...(await toldWhy(copy, remove)) });
          }
          report({ entriesDone: outcomes.length });
        }
        return outcomes;
      }),

    /** Removes from all copies the WAL that nothing has needed for a time of grace, by what the stores hold now. */
    expireWal: (request: ExpireWalRequest): Promise<WalExpired> =>
      runActivity('expire WAL', ({ report, signal }) => expireWal(deps, request, { report, signal })),
  };

  /** Whatever is wrong with one of them keeps nobody from the others. */
  async function toldWhy(copy: string, remove: (store: Store) => Promise<RemovedKeys>): Promise<RemovedKeys> {
    const store = await deps.store(copy);
    try {
      return await remove(store);
    } catch (error) {
      if (!isFailure(error) || error.retryable) throw error;
      return { removed: [], kept: [{ name: 'all', why: error.message }] };
    }
  }
}

/** The point that is published under the prefix; null when there is none, or something that is no point of that id. */
async function publishedPoint(
  store: Store,
  prefix: string,
  pointId: string,
  trusted: string[],
): Promise<BackupJson | null> {
  try {
    const backup = parseBackupJson(await readBytes(store, prefix + backupJsonName), trusted);
    return backup.id === pointId ? backup : null;
  } catch (error) {
    if (isFailure(error, 'ObjectMissing', 'Corrupt', 'SignatureInvalid', 'FormatUnsupported')) return null;
    throw error;
  }
}

function prunable({ copies }: Policy, name: string): { pruneAfter: string; others: CopyPolicy[] } {
  const copy = copies.find((c) => c.name === name);
  const others = copies.filter((c) => c.name !== name);
  if (copy?.pruneAfter !== undefined && others.length > 0) return { pruneAfter: copy.pruneAfter, others };
  throw new Failure('UsageInvalid', `Nothing is ever pruned from "${name}": the policy does not say so.`, {
    next: 'Set pruneAfter on that copy, beside other copies, and restart the retention worker.',
  });
}

/** A copy without backup.json is one that was being removed. */
async function assertOlder(store: Store, prefix: string, pruneAfter: string): Promise<void> {
  let publishedAt: string;
  try {
    publishedAt = (await store.head(prefix + backupJsonName)).modifiedAt;
  } catch (error) {
    if (isFailure(error, 'ObjectMissing')) return;
    throw error;
  }
  const now = await store.clock();
  if (Date.parse(now) - Date.parse(publishedAt) >= durationSeconds(pruneAfter) * 1000) return;
  throw new Failure('UsageInvalid', `${store.name} has ${prefix} since ${publishedAt}, not yet for ${pruneAfter}.`, {
    next: 'Nothing was removed. If clocks disagree, "backupctl doctor" shows by how much.',
  });
}

/** No point that lies there may be built upon it: its chain would be broken there. */
async function assertNotNeeded(
  store: Store,
  { source, pointId, trusted }: { source: string; pointId: string; trusted: string[] },
): Promise<void> {
  for (const { backup } of (await pointsInStores([store], { source, trusted })).values()) {
    if (backup.parent !== pointId) continue;
    throw new Failure('UsageInvalid', `${backup.id} needs ${pointId}, and lies in ${store.name}, too.`, {
      next: 'Nothing was removed. If the catalog knows no such point, "backupctl catalog rebuild" lets it follow the stores.',
    });
  }
}

async function assertHolds(store: Store, prefix: string, pointId: string, trusted: string[]): Promise<void> {
  const backup = parseBackupJson(await readBytes(store, prefix + backupJsonName), trusted);
  const next = `Run "backupctl backup verify ${pointId} --copy ${store.name}"; no copy was removed.`;
  if (backup.id !== pointId) {
    throw new Failure('Corrupt', `${store.name} holds ${backup.id} in the place of ${pointId}.`, { next });
  }
  for (const object of backup.objects) {
    const found = await store.head(prefix + object.name).catch((error: unknown) => {
      if (object.role === 'key' && isFailure(error, 'ObjectMissing')) return null;
      throw error;
    });
    // Rotated away: a later one has taken its place.
    if (found === null && (await listKeys({ store, prefix })).length > 0) continue;
    if (found === null) {
      throw new Failure('ObjectMissing', `${store.name} holds no key of ${pointId}.`, { next });
    }
    if (found.bytes === object.bytes && (found.sha256 === null || found.sha256 === object.sha256)) continue;
    throw new Failure('ChecksumMismatch', `${store.name} holds another ${prefix}${object.name} than was sealed.`, {
      next,
    });
  }
}
