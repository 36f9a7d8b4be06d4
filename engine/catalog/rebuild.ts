import { chainOf } from '../../policies/chain.ts';
import { Failure, isFailure } from '../../policies/failure.ts';
import { type HoldNote, mergeNotes } from '../../policies/hold.ts';
import type { BackupJson } from '../../policies/recovery-point.ts';
import type { Store } from '../stores/index.ts';
import type { Catalog, CopyRecord } from './catalog.ts';
import { type Published, publishedAt, publishedIn } from './published.ts';
import { sameDocument } from './same-document.ts';

export interface RebuildOptions {
  catalog: Catalog;
  /** The stores of all copies of the policy, named as these. */
  stores: Store[];
  /** Public keys whose signature makes a point count. */
  trusted: string[];
  /** List only this one of the stores; in the others only its points are looked up. Absent: every store is listed. */
  from?: string;
}

export interface RebuildReport {
  points: number;
  copies: number;
  /** Copies that the catalog had and their store does not. */
  forgotten: number;
  /** Stores that did not answer: what the catalog says of them was left as it is. */
  unreachable: string[];
  /** What was found but does not count, and what could not be read, by name and reason. */
  problems: string[];
}

/**
 * Makes the catalog's points and copies again from the stores alone. Times are the stores' own, so that the outcome is
 * the same each time, and the same as was recorded when the points were made. A row goes only when the store that
 * should have it was read; a point goes with its last copy. Attempts that failed, incidents and jobs are in no store,
 * and stay as they are. Throws CopyUnknown, CatalogUnreachable, and StoreUnreachable when no store could be read.
 */
export async function rebuildCatalog({ catalog, stores, trusted, from }: RebuildOptions): Promise<RebuildReport> {
  await catalog.migrate();
  // Before the stores are read: what a job publishes meanwhile must not look as if it were gone.
  const before = await catalog.points();
  const looked = await lookInto({
    stores,
    trusted,
    ...(from === undefined ? {} : { from }),
  });
  for (const { backup, copies, holds } of looked.points.values()) {
    const known = await catalog.point(backup.id);
    const kept = (known?.copies ?? []).filter(
      (c) => staysAsItIs(c, looked) && !copies.some((found) => found.copy === c.copy),
    );
    await catalog.replacePoint(backup, [...copies, ...kept], holds);
  }
  let forgotten = 0;
  for (const point of before) {
    const isIn = looked.points.get(point.backup.id);
    // A store that was only asked for certain points has said nothing of the others.
    if (!isIn && from !== undefined) {
      forgotten += await forget(
        catalog,
        point.copies.filter((c) => c.copy === from && c.state !== 'failed'),
      );
      continue;
    }
    const gone = point.copies.filter(
      (c) => c.state !== 'failed' && looked.read.has(c.copy) && !isIn?.copies.some((f) => f.copy === c.copy),
    );
    forgotten += await forget(catalog, gone);
  }
  return {
    points: looked.points.size,
    copies: [...looked.points.values()].reduce((sum, p) => sum + p.copies.length, 0),
    forgotten,
    unreachable: looked.unreachable,
    problems: looked.problems,
  };
}

/** Lists what differs between the catalog and the stores, without writing. */
export async function verifyCatalog({ catalog, stores, trusted }: Omit<RebuildOptions, 'from'>): Promise<string[]> {
  // Twice, for jobs go on meanwhile: missing is what neither the one nor the other knows.
  const before = await catalog.points();
  const looked = await lookInto({ stores, trusted });
  const differences = [...looked.problems];
  const known = new Map((await catalog.points()).map((p) => [p.backup.id, p]));
  for (const { backup, copies, holds } of looked.points.values()) {
    const point = known.get(backup.id);
    if (!point) {
      differences.push(`${backup.id} is in ${copies.map((c) => c.copy).join(', ')} but not in the catalog`);
      continue;
    }
    if (!sameDocument(point.backup, backup)) {
      differences.push(`${backup.id}: its description in ${copies[0]?.copy} is not the catalog's`);
    }
    if (mergeNotes(point.holds, holds).length > point.holds.length) {
      differences.push(`${backup.id}: the catalog does not know all of its legal holds`);
    }
    for (const copy of copies) {
      const row = point.copies.find((c) => c.copy === copy.copy);
      if (row?.state !== 'verified')
        differences.push(`${backup.id} is in ${copy.copy}, the catalog does not know that copy`);
      else if (!sameDocument(row, copy))
        differences.push(`${backup.id}: size, time, lock or hold of its copy in ${copy.copy} are not the catalog's`);
    }
  }
  for (const point of before.filter((p) => known.has(p.backup.id))) {
    for (const copy of point.copies) {
      if (copy.state !== 'verified' || !looked.read.has(copy.copy)) continue;
      const found = looked.points.get(copy.pointId)?.copies.some((c) => c.copy === copy.copy);
      if (!found) differences.push(`${copy.pointId} is not in ${copy.copy}, where the catalog has it`);
    }
  }
  return differences;
}

interface Looked {
  points: Map<string, { backup: BackupJson; copies: CopyRecord[]; holds: HoldNote[] }>;
  /** Stores that were read to their end. */
  read: Set<string>;
  unreachable: string[];
  problems: string[];
}

async function lookInto({ stores, trusted, from }: Omit<RebuildOptions, 'catalog'>): Promise<Looked> {
  const looked: Looked = {
    points: new Map(),
    read: new Set(),
    unreachable: [],
    problems: [],
  };
  const onProblem = (problem: string) => looked.problems.push(problem);
  const listed = from === undefined ? stores : stores.filter((s) => s.name === from);
  if (listed.length === 0) {
    throw new Failure('CopyUnknown', `There is no copy named "${from}".`, {
      next: `Use one of: ${stores.map((s) => s.name).join(', ')}.`,
    });
  }
  let unreachable: unknown;
  const reading = async (store: Store, body: () => Promise<void>) => {
    try {
      // A folder whose disk is away lists as empty; here it must not look as if all were gone.
      await store.check();
      await body();
      looked.read.add(store.name);
    } catch (error) {
      if (!isFailure(error, 'StoreUnreachable', 'StoreDenied', 'BucketMissing')) throw error;
      unreachable = error;
      looked.unreachable.push(store.name);
      onProblem(`${store.name} could not be read: ${error.message}`);
    }
  };
  for (const store of listed) {
    await reading(store, async () => {
      for await (const found of publishedIn({ store, trusted, onProblem })) take(looked, found);
    });
  }
  if (looked.read.size === 0) throw unreachable;
  for (const { name } of listed) if (looked.read.has(name)) chainProblems(looked, name).forEach(onProblem);
  for (const store of stores.filter((s) => !listed.includes(s))) {
    await reading(store, async () => {
      for (const { backup } of [...looked.points.values()]) {
        const found = await publishedAt({ store, trusted, onProblem }, backup.source.name, backup.id);
        if (found) take(looked, found);
      }
    });
  }
  return looked;
}

/** Points in a copy that lack there what they need. They are entered all the same: another copy may be whole. */
function chainProblems({ points }: Looked, copy: string): string[] {
  const here = [...points.values()].filter((p) => p.copies.some((c) => c.copy === copy));
  return here.flatMap(({ backup }) => {
    const chain = chainOf(here, backup.id);
    return typeof chain === 'string' ? [`${backup.id} cannot be restored from ${copy}: ${chain}`] : [];
  });
}

function take(looked: Looked, { backup, copy, holds }: Published): void {
  const known = looked.points.get(backup.id);
  if (!known) {
    looked.points.set(backup.id, { backup, copies: [copy], holds });
  } else if (sameDocument(known.backup, backup)) {
    known.copies.push(copy);
    known.holds = mergeNotes(known.holds, holds);
  } else {
    looked.problems.push(
      `${copy.copy} describes ${backup.id} otherwise than ${known.copies[0]?.copy}; it does not count there`,
    );
  }
}

/** What a store has not been asked about, and attempts that failed, which no store knows of. */
function staysAsItIs(copy: CopyRecord, looked: Looked): boolean {
  return copy.state === 'failed' || !looked.read.has(copy.copy);
}

async function forget(catalog: Catalog, copies: CopyRecord[]): Promise<number> {
  for (const copy of copies) await catalog.forgetCopy(copy.pointId, copy.copy);
  return copies.length;
}
