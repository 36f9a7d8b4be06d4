import { pointsInStores } from '../engine/catalog/index.ts';
import { listWal } from '../engine/sources/wal/index.ts';
import type { Store } from '../engine/stores/index.ts';
import { durationSeconds } from '../policies/duration.ts';
import { isFailure } from '../policies/failure.ts';
import type { Policy } from '../policies/policy.ts';
import { earliestOf, judgeSource } from '../policies/source-expiry.ts';
import { mayRemoveWal, type WalMark, walNeededFrom } from '../policies/wal-expiry.ts';
import type { WalExpired } from '../workflows/contracts.ts';
import type { ActivityTools } from './failure.ts';

export interface ExpireWalRequest {
  source: string;
  /** Set a time of grace ago. */
  mark: WalMark;
}

/**
 * Removes from all copies the WAL that nothing needs. Decides by itself, by what the stores hold now: only the mark is
 * the caller's, and what is younger than the time of grace stays, whatever the mark says. The oldest goes first, so that
 * what is left has no gap when this is interrupted. Idempotent.
 */
export async function expireWal(
  deps: { policy: Policy; store(copy: string): Promise<Store> },
  { source, mark }: ExpireWalRequest,
  { report, signal }: Pick<ActivityTools, 'report' | 'signal'>,
): Promise<WalExpired> {
  const { policy } = deps;
  const { trusted } = policy.keys;
  const stores = await Promise.all(policy.copies.map((c) => deps.store(c.name)));
  const storeNow = earliestOf(await Promise.all(stores.map((s) => s.clock())));
  const graceMs = durationSeconds(policy.retention.grace) * 1000;
  const oldEnough = new Date(Date.parse(storeNow) - graceMs).toISOString();
  const markedAt = Date.parse(mark.markedAt) < Date.parse(oldEnough) ? mark.markedAt : oldEnough;
  const there = await pointsInStores(stores, { source, trusted });
  const known = [...there.values()];
  const judged = judgeSource({ policy, source, points: known, storeNow, marks: [], decided: [...there.keys()] });
  const neededFrom = walNeededFrom(known, judged, policy, storeNow);
  const expired: WalExpired = { removed: 0, bytes: 0, refused: null };
  for (const store of stores) {
    const { ranges } = await listWal({ store, source, trusted, signal });
    const going = ranges.filter((r) => mayRemoveWal(r, neededFrom, { ...mark, markedAt }));
    for (const { key, bytes } of going) {
      signal.throwIfAborted();
      try {
        await store.delete(key);
        expired.removed++;
        expired.bytes += bytes;
      } catch (error) {
        if (!isFailure(error, 'StoreDenied')) throw error;
        // What comes after it stays as well, so that there is no gap.
        expired.refused ??= error.message;
        break;
      }
      report({ entriesDone: expired.removed });
    }
  }
  return expired;
}
