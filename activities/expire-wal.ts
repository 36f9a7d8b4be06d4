import { pointsInStores } from '../engine/catalog/index.ts';
import { listWal } from '../engine/sources/wal/index.ts';
import type { Store } from '../engine/stores/index.ts';
import { durationSeconds } from '../policies/duration.ts';
import { isFailure } from '../policies/failure.ts';
import type { Policy } from '../policies/policy.ts';
import { earliestOf, judgeSource } from '../policies/source-expiry.ts';
import { parseWalKey } from '../policies/wal-bundle.ts';
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
    const { ranges, wrappedKeys } = await listWal({ store, source, trusted, signal });
    const besides = Map.groupBy(wrappedKeys, (k) => k.of);
    const mayGo = (range: Parameters<typeof mayRemoveWal>[0]) => mayRemoveWal(range, neededFrom, { ...mark, markedAt });
    try {
      for (const { key, bytes } of ranges.filter(mayGo)) {
        signal.throwIfAborted();
        await store.delete(key);
        expired.removed++;
        expired.bytes += bytes;
        // An object is never without its wrapped keys; these are, when this is interrupted here.
        for (const wrapped of besides.get(key) ?? []) await store.delete(wrapped.key);
        report({ entriesDone: expired.removed });
      }
      const there = new Set(ranges.map((r) => r.key));
      for (const { key, of, storedAt } of wrappedKeys.filter((k) => !there.has(k.of))) {
        const found = parseWalKey(source, of);
        if (found?.kind === 'range' && mayGo({ ...found.range, storedAt })) await store.delete(key);
      }
    } catch (error) {
      if (!isFailure(error, 'StoreDenied')) throw error;
      // What comes after it stays as well, so that there is no gap.
      expired.refused ??= error.message;
    }
  }
  return expired;
}
