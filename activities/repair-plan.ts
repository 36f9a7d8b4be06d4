import { parseBackupJson } from '../engine/artifact/index.ts';
import type { Catalog, PointRecord } from '../engine/catalog/index.ts';
import { readBytes, type Store } from '../engine/stores/index.ts';
import type { PlannedCopy } from '../policies/backup-plan.ts';
import { Failure } from '../policies/failure.ts';
import { plannedCopies, sourcePolicy } from '../policies/plan.ts';
import type { Policy } from '../policies/policy.ts';
import { backupJsonName, pointPrefix, storedBytes } from '../policies/recovery-point.ts';
import { partName, type RepairPart } from '../policies/repair.ts';
import type { RepairInput, RepairOutcome } from '../workflows/contracts.ts';
import { judgePoint } from './coordination.ts';
import { runActivity } from './failure.ts';
import { resolveIncident, settle } from './incidents.ts';

export interface RepairPlan {
  source: string;
  /** What it is about, in words. */
  what: string;
  /** Whose workers do it. */
  host: string;
  /** To be mended in this order: what others need comes first. */
  parts: { part: RepairPart; copies: PlannedCopy[] }[];
}

export interface RepairEnd {
  source: string;
  what: string;
  outcomes: RepairOutcome[];
}

export type RepairPlanActivities = ReturnType<typeof createRepairPlanActivities>;

/** For coordination workers: which copies should hold what, and what became of them. */
export function createRepairPlanActivities(deps: {
  policy: Policy;
  catalog: Catalog;
  store(copy: string): Promise<Store>;
}) {
  const { policy, catalog } = deps;
  return {
    /**
     * The way out, and the WAL of a source or a point with all that it is built upon. A copy that was pruned is none that
     * should hold the point; one that failed is. Throws PointUnknown, SourceUnknown, CopyUnknown, and UsageInvalid for
     * what is being removed.
     */
    planRepair: ({ pointId, walOf, copy }: RepairInput): Promise<RepairPlan> =>
      runActivity('plan repair', async () => {
        if (copy !== undefined && !policy.copies.some((c) => c.name === copy)) {
          throw new Failure('CopyUnknown', `The policy has no copy named "${copy}".`, {
            next: `Use one of: ${policy.copies.map((c) => c.name).join(', ')}.`,
          });
        }
        const wanted = (copies: PlannedCopy[], should: (name: string) => boolean) =>
          copies.filter((c) => (copy === undefined ? should(c.name) : c.name === copy));
        const wayOut = {
          part: { kind: 'way-out' } as const,
          copies: wanted(plannedCopies(policy, walOf ?? '', []), () => true),
        };
        if (pointId === undefined) {
          const { name: source, host } = sourcePolicy(policy, walOf ?? '');
          const part: RepairPart = { kind: 'wal', source };
          return { source, what: partName(part), host, parts: [wayOut, { part, copies: wayOut.copies }] };
        }
        const [point, ...ancestors] = await chainOf(catalog, pointId);
        const { source, classes } = point.backup;
        if (
          (await catalog.retention.removals({ source: source.name, open: true })).some((r) => r.pointId === pointId)
        ) {
          throw new Failure('UsageInvalid', `${pointId} is being removed: the policy keeps it no longer.`, {
            next: `"backupctl retention plan ${source.name}" says why.`,
          });
        }
        // A chain is whole in every copy, so what holds the point should hold what it needs.
        const should = (name: string) => point.copies.some((c) => c.copy === name && c.state !== 'pruned');
        const parts = [...ancestors.reverse(), point].map(({ backup }) => ({
          part: { kind: 'point', source: source.name, pointId: backup.id } as const,
          copies: wanted(plannedCopies(policy, source.name, backup.classes), should),
        }));
        const host = policy.sources.find((s) => s.name === source.name)?.host ?? source.host;
        const copies = wanted(plannedCopies(policy, source.name, classes), should);
        return { source: source.name, what: pointId, host, parts: [{ ...wayOut, copies }, ...parts] };
      }),

    /** Enters what each copy is now, and opens or closes the incident. */
    recordRepair: ({ source, what, outcomes }: RepairEnd): Promise<void> =>
      runActivity('record repair', async () => {
        for (const { part, copy, state, problems } of outcomes) {
          if (state === 'unknown' || part.kind !== 'point') continue;
          const { pointId } = part;
          const known = (await catalog.point(pointId))?.copies.find((c) => c.copy === copy) ?? nothing;
          await catalog.recordCopy(
            state === 'damaged'
              ? { ...known, pointId, copy, state: 'failed', error: problems.join('; ') }
              : { ...(await asStored(pointId, copy)), pointId, copy, state: 'verified', error: null },
          );
        }
        const bad = outcomes.filter((o) => o.problems.length > 0);
        const pointId = outcomes.flatMap(({ part }) => (part.kind === 'point' ? part.pointId : [])).at(-1) ?? null;
        await settle(catalog, bad.length === 0, {
          key: `not-whole/${source}/${what}`,
          severity: 'critical',
          source,
          pointId,
          summary: `${what} is not known to be whole: ${bad
            .slice(0, 3)
            .map((o) => `${o.copy}: ${o.problems.join('; ')}`)
            .join('; ')}`,
          next: `Mend what is named, then run "backupctl ${pointId === null ? `wal repair ${source}` : `backup repair ${pointId}`} --wait" again.`,
        });
        const [newest] = await catalog.points({ source, limit: 1 });
        if (newest && newest.backup.id === pointId && judgePoint(policy, newest.copies).satisfied) {
          await resolveIncident(catalog, `rule-breached/${source}`);
        }

        async function asStored(id: string, copy: string) {
          const store = await deps.store(copy);
          const key = pointPrefix(source, id) + backupJsonName;
          const bytes = storedBytes(parseBackupJson(await readBytes(store, key), policy.keys.trusted));
          const { modifiedAt, lockedUntil, held } = await store.head(key);
          return { bytes, publishedAt: modifiedAt, verifiedAt: new Date().toISOString(), lockedUntil, held };
        }
      }),
  };
}

const nothing = { bytes: 0, publishedAt: null, verifiedAt: null, lockedUntil: null, held: false };

/** A point and, as far as the catalog knows them, those that it is built upon, the nearest first. */
async function chainOf(catalog: Catalog, pointId: string): Promise<[PointRecord, ...PointRecord[]]> {
  const point = await catalog.point(pointId);
  if (!point) {
    throw new Failure('PointUnknown', `The catalog has no recovery point ${pointId}.`, {
      next: '"backupctl backup list" shows them; "backupctl catalog rebuild" reads the stores again.',
    });
  }
  const chain: [PointRecord, ...PointRecord[]] = [point];
  for (let { parent } = point.backup; parent !== null && chain.every((p) => p.backup.id !== parent); ) {
    const next = await catalog.point(parent);
    if (!next) break;
    chain.push(next);
    parent = next.backup.parent;
  }
  return chain;
}
