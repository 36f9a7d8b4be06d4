import { pointsInStores } from '../engine/catalog/index.ts';
import type { Store } from '../engine/stores/index.ts';
import { isFailure } from '../policies/failure.ts';
import type { Policy } from '../policies/policy.ts';
import { backupJsonName, pointPrefix } from '../policies/recovery-point.ts';
import { earliestOf, judgeSource } from '../policies/source-expiry.ts';
import type { ActivityTools } from './failure.ts';
import { assertNotHeld, removePoint } from './remove-point.ts';

export interface ExpireRequest {
  source: string;
  /** What needs another comes before it. */
  pointIds: string[];
}

export interface ExpiredPoint {
  pointId: string;
  /** The copies in which nothing of it is left. */
  gone: string[];
  /** Why it was not removed, or not everywhere; null when it is gone. */
  refused: string | null;
}

/**
 * Decides by itself what of the request may go: the stores are read anew, all of them, so that neither a catalog that
 * is behind nor whoever reaches the queue can have removed what the policy keeps. Only the marks and their grace are
 * the caller's.
 */
export async function expirePoints(
  deps: { policy: Policy; store(copy: string): Promise<Store> },
  { source, pointIds }: ExpireRequest,
  { report, signal }: Pick<ActivityTools, 'report' | 'signal'>,
): Promise<ExpiredPoint[]> {
  const { policy } = deps;
  const stores = await Promise.all(policy.copies.map((c) => deps.store(c.name)));
  const storeNow = earliestOf(await Promise.all(stores.map((s) => s.clock())));
  const there = await pointsInStores(stores, { source, trusted: policy.keys.trusted });
  const points = [...there.values()];
  const { verdicts } = judgeSource({ policy, source, points, storeNow, marks: [], decided: [...there.keys()] });
  const outcomes: ExpiredPoint[] = [];
  for (const pointId of pointIds) {
    signal.throwIfAborted();
    const stays = verdicts.find((v) => v.pointId === pointId && v.stays);
    const child = [...there.values()].find((p) => p.backup.parent === pointId);
    const refused = stays
      ? `it stays: ${stays.reasons.map((r) => r.text).join('; ')}`
      : child
        ? `it stays: needed by ${child.backup.id}`
        : null;
    const outcome = refused === null ? await removeEverywhere(stores, source, pointId, there.has(pointId)) : null;
    outcomes.push(outcome ?? { pointId, gone: await missingIn(stores, source, pointId), refused });
    if (outcome?.refused === null) there.delete(pointId);
    report({ entriesDone: outcomes.length });
  }
  return outcomes;
}

async function removeEverywhere(
  stores: Store[],
  source: string,
  pointId: string,
  counts: boolean,
): Promise<ExpiredPoint> {
  const prefix = pointPrefix(source, pointId);
  const gone: string[] = [];
  try {
    for (const store of stores) {
      await assertNotHeld(store, prefix);
      // Of what was interrupted there is no backup.json any more.
      if (counts || !(await isPublished(store, prefix))) continue;
      const refused = `what ${store.name} has under its name does not count; a person must look`;
      return { pointId, gone: await missingIn(stores, source, pointId), refused };
    }
    // Those that may refuse come first: then it is whole in the others.
    for (const store of stores.toSorted((a, b) => Number(a.kind !== 's3') - Number(b.kind !== 's3'))) {
      await removePoint(store, prefix);
      gone.push(store.name);
    }
    return { pointId, gone, refused: null };
  } catch (error) {
    if (!isFailure(error, 'StoreDenied')) throw error;
    return { pointId, gone: await missingIn(stores, source, pointId), refused: error.message };
  }
}

async function missingIn(stores: Store[], source: string, pointId: string): Promise<string[]> {
  const prefix = pointPrefix(source, pointId);
  const published = await Promise.all(stores.map((s) => isPublished(s, prefix)));
  return stores.filter((_, i) => !published[i]).map((s) => s.name);
}

async function isPublished(store: Store, prefix: string): Promise<boolean> {
  try {
    await store.head(prefix + backupJsonName);
    return true;
  } catch (error) {
    if (isFailure(error, 'ObjectMissing')) return false;
    throw error;
  }
}
