import { type HoldNote, mergeNotes } from '../../policies/hold.ts';
import type { BackupJson } from '../../policies/recovery-point.ts';
import type { Store } from '../stores/index.ts';
import type { CopyRecord } from './catalog.ts';
import { publishedIn } from './published.ts';
import { sameDocument } from './same-document.ts';

/** A point as all stores together hold it. */
export interface StoredPoint {
  backup: BackupJson;
  copies: CopyRecord[];
  holds: HoldNote[];
  /** Its copies describe it differently. */
  contradicted: boolean;
}

/**
 * The points of a source that count, as the stores themselves hold them, by id. Throws what a store throws that cannot
 * be read: what it holds may be needed, or need others.
 *
 * @param trusted public keys whose signature makes a point count
 */
export async function pointsInStores(
  stores: Store[],
  { source, trusted }: { source: string; trusted: string[] },
): Promise<Map<string, StoredPoint>> {
  const points = new Map<string, StoredPoint>();
  for (const store of stores) {
    // A folder whose disk is away lists as empty; here it must not look as if all were gone.
    await store.check();
    for await (const found of publishedIn({ store, trusted, below: `${source}/`, onProblem: () => {} })) {
      const known = points.get(found.backup.id);
      points.set(found.backup.id, {
        backup: known?.backup ?? found.backup,
        copies: [...(known?.copies ?? []), found.copy],
        holds: mergeNotes(known?.holds ?? [], found.holds),
        contradicted: known !== undefined && (known.contradicted || !sameDocument(known.backup, found.backup)),
      });
    }
  }
  return points;
}
