import { CancellationScope, isCancellation, log, proxyActivities } from '@temporalio/workflow';
import type { RetentionActivities } from '../activities/retention.ts';
import type { TransferActivities } from '../activities/transfer.ts';
import type { BackupPlan, PlannedCopy } from '../policies/backup-plan.ts';
import { queues } from '../policies/queues.ts';
import type { BackupJob } from './backup-job.ts';
import type { CopyOutcome } from './contracts.ts';
import { within } from './deadline.ts';
import { messageOf } from './failure.ts';
import { short, transferring } from './options.ts';

export interface Copies {
  copies: CopyOutcome[];
  /** The cancellation that ended some branch, null when there was none. */
  cancelled: unknown;
}

/** All branches, each to its end: one that fails or is cancelled does not stop the others from cleaning up. */
export async function makeCopies(job: BackupJob, plan: BackupPlan): Promise<Copies> {
  const ends = await Promise.allSettled(plan.copies.map((copy) => branch(job, plan, copy)));
  let cancelled: unknown = null;
  const copies = ends.map((end, i): CopyOutcome => {
    if (end.status === 'fulfilled') return end.value;
    cancelled = end.reason;
    return { copy: plan.copies[i]?.name ?? '', state: 'failed', error: 'cancelled' };
  });
  return { copies, cancelled };
}

/** Makes one copy, and counts it only once its bytes were read back. A failure stays within the branch. */
async function branch(job: BackupJob, plan: BackupPlan, copy: PlannedCopy): Promise<CopyOutcome> {
  const transfer = proxyActivities<TransferActivities>({
    ...transferring(copy.deadlineMs),
    taskQueue: queues.transfer(plan.host),
  });
  const target = { plan, copy: copy.name };
  job.copyState(copy.name, 'uploading');
  try {
    await within(copy.deadlineMs, `The copy ${copy.name}`, async () => {
      await transfer.uploadCopy(target);
      job.copyState(copy.name, 'verifying');
      await transfer.verifyCopy(target);
      await transfer.publishCopy(target);
    });
    job.copyState(copy.name, 'verified');
    return { copy: copy.name, state: 'verified', error: null };
  } catch (error) {
    job.copyState(copy.name, 'failed');
    const undo = proxyActivities<RetentionActivities>({ ...short, taskQueue: queues.retention(plan.host) });
    const { source, pointId } = plan;
    let message = messageOf(error);
    try {
      const { published } = await CancellationScope.nonCancellable(() =>
        undo.withdrawCopy({ source, pointId, copy: copy.name }),
      );
      if (published) {
        // Only the answer was lost: nothing is published before its bytes were read back.
        job.copyState(copy.name, 'verified');
        return { copy: copy.name, state: 'verified', error: null };
      }
    } catch (undoError) {
      // The store is likely still away. What lies there has no backup.json, so it is no point.
      job.leaves({ copies: [copy.name] });
      message += ` (and what was uploaded could not be removed yet: ${messageOf(undoError)})`;
    }
    if (isCancellation(error)) throw error;
    log.warn('copy failed', { copy: copy.name, pointId, error: message });
    return { copy: copy.name, state: 'failed', error: message };
  }
}
