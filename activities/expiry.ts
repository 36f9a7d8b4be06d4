import type { Catalog } from '../engine/catalog/index.ts';
import type { Store } from '../engine/stores/index.ts';
import { durationSeconds } from '../policies/duration.ts';
import { sourcePolicy } from '../policies/plan.ts';
import type { Policy } from '../policies/policy.ts';
import type { Verdict } from '../policies/retention.ts';
import { earliestOf, expiryStoppedKey, judgeSource } from '../policies/source-expiry.ts';
import { ripeMark, type WalMark, walNeededFrom } from '../policies/wal-expiry.ts';
import type { WalExpired } from '../workflows/contracts.ts';
import type { ExpiredPoint } from './expire-points.ts';
import { runActivity } from './failure.ts';
import { settle } from './incidents.ts';
import { type ReadingsDependencies, readersOf } from './readings.ts';

export interface ExpiryDependencies extends ReadingsDependencies {
  policy: Policy;
  catalog: Catalog;
  /** Asked for its clock only. */
  store(copy: string): Promise<Store>;
}

export interface ExpiryRequest {
  source: string;
  by: string;
  passOver: string[];
}

export interface ExpiryDecision {
  source: string;
  /** The machine whose retention worker removes. */
  host: string;
  /** Why nothing goes until a person has decided; null when all is well. */
  stopped: string | null;
  stays: number;
  /** May go, once their grace is over. */
  waiting: number;
  /** To be removed now, in this order. */
  remove: string[];
  /** There is more to remove than that. */
  more: boolean;
  /** WAL goes by this mark, once no more points go; absent where none is ripe. */
  wal?: WalMark;
}

/** How the expiry of a source ended. */
export interface ExpiryEnd {
  source: string;
  error: string | null;
  wal?: WalExpired;
}

export type ExpiryActivities = ReturnType<typeof createExpiryActivities>;

/** Points removed at once: neither a history nor an activity grows with what has piled up. */
const batchMax = 100;

/** Decides what goes, and remembers it; removing is for the retention role alone. */
export function createExpiryActivities({ policy, catalog, store, openRun }: ExpiryDependencies) {
  const { retention } = catalog;
  return {
    /** The sources whose points may expire: one, or all of the policy. Throws SourceUnknown. */
    expirySources: ({ source }: { source?: string }): Promise<string[]> =>
      runActivity('sources', async () =>
        source === undefined ? policy.sources.map((s) => s.name) : [sourcePolicy(policy, source).name],
      ),

    /**
     * Plans by the stores' clocks, marks what may go, and writes down what is to be removed now: what is ripe, and what
     * an earlier run had begun. What a restore reads stays until it has ended. A source that has changed suddenly is left
     * alone; that is an incident, which a person resolves.
     *
     * @param input.by who has it removed, in words
     * @param input.passOver what was refused already in this run
     */
    decideExpiry: ({ source, by, passOver }: ExpiryRequest): Promise<ExpiryDecision> =>
      runActivity('decide', async () => {
        const storeNow = earliestOf(
          await Promise.all(policy.copies.map(async ({ name }) => (await store(name)).clock())),
        );
        const [points, marks, decisions, begun, readers] = await Promise.all([
          catalog.points({ source }),
          retention.marks(source),
          retention.anomalyDecisions(source),
          retention.removals({ source, open: true }),
          readersOf({ catalog, openRun }, source),
        ]);
        const decided = decisions.map((d) => d.pointId);
        const {
          stopped,
          anomalies,
          points: retained,
          verdicts,
          step,
        } = judgeSource({
          policy,
          source,
          points,
          storeNow,
          marks,
          decided,
          readers,
        });
        await settle(catalog, stopped === null, {
          key: expiryStoppedKey(source),
          severity: 'critical',
          source,
          pointId: anomalies[0]?.pointId ?? null,
          summary: `Nothing of ${source} expires: it has changed suddenly. ${stopped}`,
          next: `Look whether ${source} is in order; if so: backupctl retention resume ${source} --operator NAME --reason TEXT`,
        });
        await retention.mark({ add: step.mark, remove: step.unmark, at: storeNow });
        // What was begun goes first: it was already found to go, and perhaps only half of it is left.
        const ripe = new Set([...begun.map((b) => b.pointId).reverse(), ...step.remove]);
        for (const id of stopped === null ? passOver : [...ripe]) ripe.delete(id);
        const remove = [...ripe].slice(0, batchMax);
        const fresh = remove.filter((id) => begun.every((b) => b.pointId !== id));
        await retention.beginRemovals(
          fresh.map((id) => ({ pointId: id, source, reasons: reasonsFor(verdicts, id), by })),
        );
        const going = verdicts.filter((v) => !v.stays).length;
        const { kind, host } = sourcePolicy(policy, source);
        const neededFrom =
          kind === 'postgres-physical' ? walNeededFrom(points, { points: retained, verdicts }, policy, storeNow) : null;
        const wal = neededFrom === null || stopped !== null ? null : await markWal(source, neededFrom, storeNow);
        return {
          source,
          host,
          stopped,
          stays: verdicts.length - going,
          waiting: going - step.remove.length,
          remove,
          more: ripe.size > remove.length,
          ...(wal === null ? {} : { wal }),
        };
      }),

    /** The catalog forgets what is gone; what was refused is an incident. */
    recordExpired: ({ source, expired }: { source: string; expired: ExpiredPoint[] }): Promise<void> =>
      runActivity('record', async () => {
        for (const { pointId, gone, refused } of expired) {
          for (const copy of gone) await catalog.forgetCopy(pointId, copy);
          await retention.endRemoval(pointId, refused === null ? 'removed' : 'refused', refused);
        }
        const refused = expired.filter((e) => e.refused !== null);
        await settle(catalog, refused.length === 0, {
          key: `expiry-refused/${source}`,
          severity: 'warning',
          source,
          pointId: refused[0]?.pointId ?? null,
          summary: `${refused.length} points of ${source} may go, but do not: ${refused
            .slice(0, 3)
            .map((e) => `${e.pointId}: ${e.refused}`)
            .join('; ')}`,
          next: 'The stores are the truth: "backupctl catalog rebuild --all" lets the catalog follow them.',
        });
      }),

    /**
     * Whether the removing itself failed: then nobody knows how much of it is done, and the next run goes on. And whether
     * WAL stays that nothing needs.
     */
    concludeExpiry: ({ source, error, wal }: ExpiryEnd): Promise<void> =>
      runActivity('conclude', async () => {
        const about = { severity: 'warning' as const, source, pointId: null };
        await settle(catalog, error === null, {
          ...about,
          key: `expiry-failed/${source}`,
          summary: `Expiry of ${source} failed: ${error}`,
          next: 'Mend what is named (backupctl doctor); it goes on by itself with the next run.',
        });
        if (!wal) return;
        await settle(catalog, wal.refused === null, {
          ...about,
          key: `expiry-refused-wal/${source}`,
          summary: `WAL of ${source} that nothing needs does not go: ${wal.refused}`,
          next: 'See who locks or holds it there; what is locked goes with a later run.',
        });
      }),
  };

  /** Sets a mark, and returns the one that is ripe. */
  async function markWal(source: string, from: string, storeNow: string): Promise<WalMark | null> {
    const graceMs = durationSeconds(policy.retention.grace) * 1000;
    const ripe = ripeMark(await retention.walMarks(source), { storeNow, graceMs });
    await retention.markWal(source, { from, markedAt: storeNow }, ripe?.markedAt ?? null);
    return ripe;
  }
}

function reasonsFor(verdicts: Verdict[], pointId: string): string[] {
  return verdicts.find((v) => v.pointId === pointId)?.reasons.map((r) => r.text) ?? [];
}
