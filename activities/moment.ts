import type { PointReader } from '../engine/artifact/index.ts';
import type { Catalog } from '../engine/catalog/index.ts';
import type { RestoreOptions } from '../engine/sources/source.ts';
import { planPointInTime, recoverCluster } from '../engine/sources/wal/index.ts';
import type { Store } from '../engine/stores/index.ts';
import { Failure, isFailure } from '../policies/failure.ts';
import { targetOf } from '../policies/moment.ts';
import type { Policy } from '../policies/policy.ts';
import type { SealedPoint } from '../policies/recovery-point.ts';
import type { RestoreInput, RestoreResult } from '../workflows/contracts.ts';

/** Coming back to a moment of a cluster by its archived WAL. */

/** What to look for. */
export interface LocateRequest extends RestoreInput {
  /** Copies that have turned out not to have it. */
  passOver?: string[];
}

/** Which point will be restored, and from where. */
export interface Located {
  pointId: string;
  from: string;
}

interface MomentDependencies {
  policy: Policy;
  catalog: Pick<Catalog, 'points'>;
  store(copy: string): Promise<Store>;
  identity(): Promise<string>;
}

const pointsMax = 1000;

/**
 * The base backup to begin with, and the copy that has it together with the WAL that leads to the moment: the first in
 * the order of the policy. Throws PointUnknown with the nearest moment that can be reached, when no copy leads there.
 */
export async function locateMoment(
  { policy, catalog, store }: MomentDependencies,
  input: LocateRequest,
  signal: AbortSignal,
): Promise<Located> {
  const copies = policy.copies.filter(
    ({ name }) => (input.from === undefined || name === input.from) && !input.passOver?.includes(name),
  );
  const points = await catalog.points({ source: input.source, limit: pointsMax });
  let refused: Failure | null = null;
  for (const { name } of copies) {
    const held = points.filter((p) => p.copies.some((c) => c.copy === name && c.state === 'verified'));
    try {
      const { plan } = await planned(
        input,
        held.map((p) => p.backup),
        { store: await store(name), trusted: policy.keys.trusted, signal },
      );
      return { pointId: plan.base.id, from: name };
    } catch (error) {
      if (!isFailure(error, 'PointUnknown', 'StoreUnreachable', 'StoreDenied', 'BucketMissing')) throw error;
      // What a copy says of moments says more than that it cannot be asked.
      if (refused === null || error.type === 'PointUnknown') refused = error;
    }
  }
  throw (
    refused ??
    new Failure('CopyUnknown', `The policy has no copy ${input.from ?? ''} to recover from.`, {
      next: 'Name one of its copies with --from.',
    })
  );
}

/** Restores the base backup and recovers it. What was written goes when the moment cannot be reached after all. */
export async function recoverTo(
  { policy, store, identity }: MomentDependencies,
  point: PointReader,
  input: RestoreInput & { from: string },
  options: RestoreOptions,
): Promise<Omit<RestoreResult, 'pointId' | 'from' | 'durationMs'>> {
  const { trusted } = policy.keys;
  const { signal } = options;
  const reading = { store: await store(input.from), trusted, signal };
  const plan = await wasThere(() => planned(input, [point.backup], reading));
  return recoverCluster(point, { ...options, planned: plan, trusted, identity: await identity() });
}

/** What a copy lacks that it was located in is missing there, however unknown it may be by now. */
export async function wasThere<T>(open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    if (!isFailure(error, 'PointUnknown')) throw error;
    throw new Failure('ObjectMissing', error.message, { next: error.next, cause: error });
  }
}

function planned(
  { source, to, timeline }: RestoreInput,
  points: SealedPoint[],
  reading: Pick<Parameters<typeof planPointInTime>[0], 'store' | 'trusted' | 'signal'>,
) {
  if (!to) throw new TypeError('no moment was asked for');
  return planPointInTime({
    ...reading,
    source,
    points,
    target: targetOf(to),
    ...(timeline === undefined ? {} : { timeline }),
  });
}
