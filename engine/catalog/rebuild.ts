import { isFailure } from '../../policies/failure.ts';
import { type BackupJson, backupJsonName, storedBytes } from '../../policies/recovery-point.ts';
import { parseBackupJson } from '../artifact/index.ts';
import { readBytes, type Store } from '../stores/index.ts';
import type { Catalog, CopyRecord } from './catalog.ts';

export interface RebuildOptions {
  catalog: Catalog;
  /** The stores to read, by the name of their copy. */
  stores: Store[];
  /** Public keys whose signature makes a point count. */
  trusted: string[];
  /** Every copy of the policy is among the stores: what is in none of them is gone. */
  complete: boolean;
}

export interface RebuildReport {
  points: number;
  copies: number;
  forgotten: number;
  /** What was found but does not count, by name and reason. */
  problems: string[];
}

/**
 * Makes the catalog's points and copies again from the stores alone: every backup.json whose signature verifies and
 * whose objects are there. Times are the stores' own, so that the outcome is the same each time. Incidents and jobs
 * are not in any store, and stay as they are.
 */
export async function rebuildCatalog({ catalog, stores, trusted, complete }: RebuildOptions): Promise<RebuildReport> {
  await catalog.migrate();
  const report: RebuildReport = { points: 0, copies: 0, forgotten: 0, problems: [] };
  const seen = new Set<string>();
  const seenCopies = new Set<string>();
  for (const store of stores) {
    for await (const { backup, copy } of publishedIn(store, trusted, report.problems)) {
      await catalog.recordPoint(backup);
      await catalog.recordCopy(copy);
      seen.add(backup.id);
      seenCopies.add(`${backup.id} ${copy.copy}`);
      report.copies++;
    }
  }
  report.points = seen.size;
  const looked = new Set(stores.map((s) => s.name));
  for (const point of await catalog.points()) {
    for (const copy of point.copies) {
      const gone = looked.has(copy.copy) && copy.state === 'verified' && !seenCopies.has(`${copy.pointId} ${copy.copy}`);
      const lost = complete && !seen.has(copy.pointId);
      if (!gone && !lost) continue;
      await catalog.forgetCopy(copy.pointId, copy.copy);
      report.forgotten++;
    }
  }
  return report;
}

/** Lists what differs between the catalog and the stores, without writing. */
export async function verifyCatalog({ catalog, stores, trusted }: Omit<RebuildOptions, 'complete'>): Promise<string[]> {
  const differences: string[] = [];
  const known = new Map((await catalog.points()).map((p) => [p.backup.id, p]));
  const found = new Set<string>();
  for (const store of stores) {
    for await (const { backup, copy } of publishedIn(store, trusted, differences)) {
      found.add(`${backup.id} ${store.name}`);
      const point = known.get(backup.id);
      if (!point) differences.push(`${backup.id} is in ${store.name} but not in the catalog`);
      else if (JSON.stringify(point.backup) !== JSON.stringify(backup)) differences.push(`${backup.id}: its description in ${store.name} is not the catalog's`);
      else if (point.copies.find((c) => c.copy === copy.copy)?.state !== 'verified') {
        differences.push(`${backup.id} is in ${store.name}, the catalog does not know that copy`);
      }
    }
  }
  const looked = new Set(stores.map((s) => s.name));
  for (const point of known.values()) {
    for (const copy of point.copies.filter((c) => c.state === 'verified' && looked.has(c.copy))) {
      if (!found.has(`${copy.pointId} ${copy.copy}`)) differences.push(`${copy.pointId} is not in ${copy.copy}, where the catalog has it`);
    }
  }
  return differences;
}

async function* publishedIn(
  store: Store,
  trusted: string[],
  problems: string[],
): AsyncGenerator<{ backup: BackupJson; copy: CopyRecord }> {
  for await (const object of store.list('')) {
    if (!object.key.endsWith(`/${backupJsonName}`)) continue;
    try {
      const backup = parseBackupJson(await readBytes(store, object.key), trusted);
      await assertComplete(store, object.key, backup);
      // The very call that recording uses, so that both get the same time.
      const { modifiedAt } = await store.head(object.key);
      yield {
        backup,
        copy: {
          pointId: backup.id,
          copy: store.name,
          state: 'verified',
          bytes: storedBytes(backup),
          publishedAt: modifiedAt,
          verifiedAt: modifiedAt,
          error: null,
        },
      };
    } catch (error) {
      if (!isFailure(error, 'Corrupt', 'SignatureInvalid', 'FormatUnsupported', 'ObjectMissing')) throw error;
      problems.push(`${store.name}/${object.key} does not count: ${error.message}`);
    }
  }
}

async function assertComplete(store: Store, key: string, backup: BackupJson): Promise<void> {
  const prefix = key.slice(0, -backupJsonName.length);
  for (const object of backup.objects) await store.head(prefix + object.name);
}
