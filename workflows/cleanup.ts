import { CancellationScope, proxyActivities, setCurrentDetails } from '@temporalio/workflow';
import type { CoordinationActivities } from '../activities/coordination.ts';
import type { HostActivities } from '../activities/host.ts';
import type { RetentionActivities } from '../activities/retention.ts';
import { queues } from '../policies/queues.ts';
import type { CleanupInput } from './contracts.ts';
import { asJobFailure } from './failure.ts';
import { patient, untiring } from './options.ts';

/**
 * Removes what a backup had to leave behind, once its host or store is there again. Fails after 30 days, naming what
 * still lies where; its incident stays open until all is gone.
 */
export async function cleanup({ source, pointId, host, staging, copies }: CleanupInput): Promise<void> {
  const { discardStaging } = proxyActivities<HostActivities>({ ...untiring, taskQueue: queues.backup(host) });
  const { withdrawCopy } = proxyActivities<RetentionActivities>({ ...untiring, taskQueue: queues.retention(host) });
  const { resolveLeftovers } = proxyActivities<CoordinationActivities>({ ...patient, taskQueue: queues.coordination });
  const open = new Map<string, Promise<unknown>>([
    ...(staging ? [[`the staging disk of ${host}`, discardStaging({ source, pointId })] as const] : []),
    ...copies.map((copy) => [copy, withdrawCopy({ source, pointId, copy })] as const),
  ]);
  const show = () => setCurrentDetails(`What is left of \`${pointId}\` on ${[...open.keys()].join(', ') || 'nothing'}`);
  show();
  const ends = await Promise.allSettled(
    [...open].map(([place, removal]) =>
      removal.then(() => {
        open.delete(place);
        show();
      }),
    ),
  );
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed) throw asJobFailure(failed.reason);
  await CancellationScope.nonCancellable(() => resolveLeftovers({ pointId }));
}
