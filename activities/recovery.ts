import { Context } from '@temporalio/activity';
import { assertTargetAnswers } from '../engine/answering.ts';
import { openPoint } from '../engine/artifact/index.ts';
import type { Catalog } from '../engine/catalog/index.ts';
import { assertWithin } from '../engine/sites/index.ts';
import { discardRestored, keepRestored, restoreUri } from '../engine/sources/index.ts';
import type { Source } from '../engine/sources/source.ts';
import type { Store } from '../engine/stores/index.ts';
import { isWholeIn } from '../policies/chain.ts';
import { Failure } from '../policies/failure.ts';
import type { Policy } from '../policies/policy.ts';
import type { RestoreInput, RestoreResult } from '../workflows/contracts.ts';
import { callingJob } from './calling-job.ts';
import { runActivity } from './failure.ts';
import { type Located, type LocateRequest, locateMoment, recoverTo, wasThere } from './moment.ts';

/** What a recovery worker is given: an identity, and stores to read. */
export interface RecoveryDependencies {
  policy: Policy;
  catalog: Catalog;
  store(copy: string): Promise<Store>;
  source(name: string): Promise<Source>;
  identity(): Promise<string>;
  resolveSecret(ref: string): Promise<string>;
}

export type RecoveryActivities = ReturnType<typeof createRecoveryActivities>;

export function createRecoveryActivities(deps: RecoveryDependencies) {
  const { policy, catalog } = deps;
  /** Names a restore over all its attempts. */
  const jobOf = () => JSON.stringify(Context.current().info.workflowExecution);
  /** Says that its point is read from now on. */
  const reading = async ({ source }: RestoreInput, located: Located): Promise<Located> => {
    await catalog.retention.beginReading({ ...callingJob(), pointId: located.pointId, source });
    return located;
  };
  /** Where it writes, and may. */
  const foldersOf = async ({ into, tablespaces = {} }: RestoreInput): Promise<string[]> => {
    const folders = [...('directory' in into ? [into.directory] : []), ...Object.values(tablespaces)];
    for (const folder of folders) {
      await assertTargetAnswers(folder);
      await assertWithin(folder, policy.restoreFolders);
    }
    return folders;
  };
  /** The target as the source takes it. The password joins only here, in the process that needs it. */
  const placeOf = async (input: RestoreInput): Promise<string> => {
    await foldersOf(input);
    const { into } = input;
    return 'directory' in into
      ? into.directory
      : restoreUri(into.databaseUri, policy.restoreTargets, deps.resolveSecret);
  };
  return {
    /**
     * The point asked for, or the newest; and a copy that has it, in the order of the policy. From here on nothing of it
     * expires until the restore has ended.
     */
    locatePoint: (input: LocateRequest): Promise<Located> =>
      runActivity('locate', async ({ signal }) => {
        if (input.to) return reading(input, await locateMoment(deps, input, signal));
        const point = input.pointId
          ? await catalog.point(input.pointId)
          : ((await catalog.points({ source: input.source, limit: 1 }))[0] ?? null);
        if (!point || point.backup.source.name !== input.source) {
          throw new Failure('PointUnknown', `There is no recovery point ${input.pointId ?? ''} of ${input.source}.`, {
            next: `"backupctl backup list ${input.source}" shows them; "backupctl catalog rebuild" reads the stores again.`,
          });
        }
        const points = point.backup.parent === null ? [point] : await catalog.points({ source: input.source });
        const held = policy.copies.filter(
          (c) => !input.passOver?.includes(c.name) && isWholeIn(points, point.backup.id, c.name),
        );
        const from = input.from ? held.find((c) => c.name === input.from) : held[0];
        if (!from) {
          throw notHeld(point.backup.id, {
            asked: input.from ?? null,
            held: held.map((c) => c.name),
            source: input.source,
          });
        }
        return reading(input, { pointId: point.backup.id, from: from.name });
      }),

    /**
     * Restores into a directory or an empty database; what it wrote goes again when it fails. Throws ObjectMissing,
     * KeyMissing, ChainBroken when the copy has not, or no longer, all of what was located there.
     */
    restorePoint: (input: RestoreInput & Located): Promise<Omit<RestoreResult, 'durationMs'>> =>
      runActivity('restore', async ({ signal, report }) => {
        const opening = {
          store: await deps.store(input.from),
          source: input.source,
          id: input.pointId,
          identity: await deps.identity(),
          trusted: policy.keys.trusted,
        };
        const point = await wasThere(() => openPoint(opening));
        report({ bytesTotal: point.backup.content.sourceBytes });
        const source = await deps.source(input.source);
        const options = {
          into: await placeOf(input),
          job: jobOf(),
          isRetry: Context.current().info.attempt > 1,
          ...(input.paths ? { paths: input.paths } : {}),
          ...(input.tablespaces ? { tablespaces: input.tablespaces } : {}),
          signal,
          onProgress: report,
        };
        const restored = input.to ? await recoverTo(deps, point, input, options) : await source.restore(point, options);
        return { pointId: input.pointId, from: input.from, ...restored };
      }),

    /** The restore is known to have ended well: its folders are no longer marked as half done. Idempotent. */
    keepRestore: (input: RestoreInput): Promise<void> =>
      runActivity('keep', async () => {
        await foldersOf(input);
        if ('directory' in input.into) await keepRestored(input.into.directory, jobOf());
      }),

    /** Removes what attempts that were killed have left of the folders: nobody comes to do it for them. Idempotent. */
    discardRestore: (input: RestoreInput): Promise<void> =>
      runActivity('discard', async () => {
        for (const folder of (await foldersOf(input)).reverse()) await discardRestored(folder, jobOf());
      }),
  };
}

/** No copy, or not the one that was asked for, has the point and all that it needs. */
function notHeld(
  pointId: string,
  { asked, held, source }: { asked: string | null; held: string[]; source: string },
): Failure {
  const names = held.join(', ');
  return new Failure(
    'CopyUnknown',
    asked !== null && held.length > 0
      ? `${asked} does not hold ${pointId} with all that it needs; these copies do: ${names}.`
      : `No copy holds ${pointId} with all that it needs.`,
    {
      next:
        held.length > 0
          ? 'Name one of them with --from, or leave it out.'
          : `Restore another point: "backupctl backup list ${source}" shows them; "backupctl catalog verify" what the stores lack.`,
    },
  );
}
