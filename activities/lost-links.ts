import { setTimeout } from 'node:timers/promises';
import { log } from '@temporalio/activity';
import type { Store } from '../engine/stores/index.ts';
import { type ChainPoint, chainOf, type LostCopy } from '../policies/chain.ts';
import { isFailure } from '../policies/failure.ts';
import type { Policy } from '../policies/policy.ts';
import { backupJsonName, pointPrefix } from '../policies/recovery-point.ts';

/**
 * Copies of a chain's points that the catalog knows and that are no longer in their stores: what is built upon them could
 * not be published there. A store that does not answer in time is taken at the catalog's word: no backup waits for it, and
 * what it lacks is told when the new point comes to be published.
 */
export async function lostLinks(
  { policy, store }: { policy: Policy; store(copy: string): Promise<Store> },
  points: ChainPoint[],
  { source, parent, withinMs = 5_000 }: { source: string; parent: string; withinMs?: number },
): Promise<LostCopy[]> {
  const chain = chainOf(points, parent);
  if (typeof chain === 'string') return [];
  const asked = policy.copies.flatMap(({ name: copy }) => chain.map((p) => ({ pointId: p.backup.id, copy })));
  const isLost = async ({ pointId, copy }: LostCopy) => {
    try {
      await (await store(copy)).head(pointPrefix(source, pointId) + backupJsonName);
      return false;
    } catch (error) {
      if (!isFailure(error)) throw error;
      if (error.type === 'ObjectMissing') return true;
      log.warn('not looked at before it is built upon', { pointId, copy, error: error.message });
      return false;
    }
  };
  const late = setTimeout(withinMs, false, { ref: false });
  const lost = await Promise.all(asked.map((link) => Promise.race([isLost(link), late])));
  return asked.filter((_, i) => lost[i]);
}
