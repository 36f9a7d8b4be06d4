import { CancellationScope, isCancellation, log, proxyActivities } from '@temporalio/workflow';
import type { RetentionActivities } from '../activities/retention.ts';
import type { TransferActivities } from '../activities/transfer.ts';
import type { BackupPlan, PlannedCopy } from '../policies/backup-plan.ts';
import { queues } from '../policies/queues.ts';
import type { BackupJob } from './backup-job.ts';
import type { CopyOutcome } from './contracts.ts';
import { within } from './deadline.ts';
import { messageOf } from './failure.ts';
import { short, transferring, untilSealed } from './options.ts';

export interface Copies {
  copies: CopyOutcome[];
  /** The cancellation that ended some branch, null when there was none. */
  cancelled: unknown;
}

/** Copies that are being made: their bytes go while the point is still being sealed. */
export interface Sending {
  /** Makes visible what was sent, now that the point is sealed, validated and signed. Every branch comes to its end. */
  finish(): Promise<Copies>;
  /** Takes back whatever was sent: the point came to nothing. */
  takeBack(): Promise<void>;
}

/** Begins all copies, each its own branch, before there is anything to copy. */
export function sendCopies(job: BackupJob, plan: BackupPlan): Sending {
  const branches = plan.copies.map((copy) => sendCopy(job, plan, copy));
  return {
    /** One that fails or is cancelled does not stop the others from cleaning up. */
    async finish() {
      const ends = await Promise.allSettled(branches.map((branch) => branch.finish()));
      let cancelled: unknown = null;
      const copies = ends.map((end, i): CopyOutcome => {
        if (end.status === 'fulfilled') return end.value;
        cancelled = end.reason;
        return { copy: plan.copies[i]?.name ?? '', state: 'failed', error: 'cancelled' };
      });
      return { copies, cancelled };
    },
    async takeBack() {
      await Promise.all(branches.map((branch) => branch.takeBack()));
    },
  };
}

interface Branch {
  finish(): Promise<CopyOutcome>;
  takeBack(): Promise<void>;
}

/** Makes one copy, and counts it only once its bytes were read back. A failure stays within the branch. */
function sendCopy(job: BackupJob, plan: BackupPlan, copy: PlannedCopy): Branch {
  const taskQueue = queues.transfer(plan.host);
  const target = { plan, copy: copy.name };
  const { sendArtifact } = proxyActivities<TransferActivities>({ ...untilSealed, taskQueue });
  const transfer = proxyActivities<TransferActivities>({ ...transferring(copy.deadlineMs), taskQueue });
  const undo = proxyActivities<RetentionActivities>({ ...short, taskQueue: queues.retention(plan.host) });
  const ahead = new CancellationScope();
  job.copyState(copy.name, 'uploading');
  /** Null when nothing was sent ahead; undefined when that came to no end, and something of it may be there. */
  const sent = ahead
    .run(() => sendArtifact(target))
    .catch((error: unknown) => {
      // Not a failure of the copy: what could not be sent ahead is sent with the rest, or fails there.
      if (!isCancellation(error)) log.warn('not sent ahead', { copy: copy.name, error: messageOf(error) });
      return undefined;
    });

  return {
    async finish() {
      try {
        await within(copy.deadlineMs, `The copy ${copy.name}`, async () => {
          // The deadline counts from now on; it must also end what was begun before.
          const pending = await Promise.race([sent, CancellationScope.current().cancelRequested]);
          await transfer.uploadCopy(pending ? { ...target, sent: pending } : target);
          job.copyState(copy.name, 'verifying');
          await transfer.verifyCopy(target);
          await transfer.publishCopy(target);
        });
        job.copyState(copy.name, 'verified');
        return { copy: copy.name, state: 'verified', error: null };
      } catch (error) {
        job.copyState(copy.name, 'failed');
        const { published, left } = await withdraw();
        if (published) {
          // Only the answer was lost: nothing is published before its bytes were read back.
          job.copyState(copy.name, 'verified');
          return { copy: copy.name, state: 'verified', error: null };
        }
        if (isCancellation(error)) throw error;
        const message = messageOf(error) + left;
        log.warn('copy failed', { copy: copy.name, pointId: plan.pointId, error: message });
        return { copy: copy.name, state: 'failed', error: message };
      }
    },

    async takeBack() {
      ahead.cancel();
      if ((await sent) !== null) await withdraw();
      job.copyState(copy.name, 'waiting');
    },
  };

  /** Removes whatever of it lies in its store, once nothing of it is under way any more. */
  async function withdraw(): Promise<{ published: boolean; left: string }> {
    const { source, pointId } = plan;
    ahead.cancel();
    await sent;
    try {
      const { published } = await CancellationScope.nonCancellable(() =>
        undo.withdrawCopy({ source, pointId, copy: copy.name }),
      );
      return { published, left: '' };
    } catch (error) {
      // The store is likely still away. What lies there has no backup.json, so it is no point.
      job.leaves({ copies: [copy.name] });
      return { published: false, left: ` (and what was uploaded could not be removed yet: ${messageOf(error)})` };
    }
  }
}
