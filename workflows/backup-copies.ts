import {
  CancellationScope,
  defineSignal,
  isCancellation,
  log,
  proxyActivities,
  setHandler,
} from '@temporalio/workflow';
import type { RetentionActivities } from '../activities/retention.ts';
import type { CopyReadBack, TransferActivities } from '../activities/transfer.ts';
import type { BackupPlan, PlannedCopy } from '../policies/backup-plan.ts';
import { queues } from '../policies/queues.ts';
import type { BackupJob } from './backup-job.ts';
import type { CopyOutcome, SendingAhead } from './contracts.ts';
import { within } from './deadline.ts';
import { messageOf } from './failure.ts';
import type { Hours } from './hours.ts';
import { short, transferring, untilSealed } from './options.ts';

const sendingAheadSignal = defineSignal<[SendingAhead]>('sendingAhead');

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

/** Begins all copies, each its own branch, before there is anything to copy. Within the source's hours only. */
export function sendCopies(job: BackupJob, plan: BackupPlan, hours: Hours): Sending {
  const branches = plan.copies.map((copy) => sendCopy(job, plan, copy, hours));
  setHandler(sendingAheadSignal, (told) => {
    for (const branch of branches) if (branch.copy === told?.copy) branch.hasBegun();
  });
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
  copy: string;
  /** Something of it may lie in its store. */
  hasBegun(): void;
  finish(): Promise<CopyOutcome>;
  takeBack(): Promise<void>;
}

/** Makes one copy, and counts it only once its bytes were read back. A failure stays within the branch. */
function sendCopy(job: BackupJob, plan: BackupPlan, copy: PlannedCopy, hours: Hours): Branch {
  const taskQueue = queues.transfer(plan.host);
  const target = { plan, copy: copy.name };
  const { sendArtifact } = proxyActivities<TransferActivities>({ ...untilSealed, taskQueue });
  const transfer = proxyActivities<TransferActivities>({ ...transferring(copy.deadlineMs), taskQueue });
  const undo = proxyActivities<RetentionActivities>({ ...short, taskQueue: queues.retention(plan.host) });
  const ahead = new CancellationScope();
  let begun = false;
  /** Null or undefined when not all of it was sent ahead, for whatever reason: what is missing goes with the rest. */
  const sent = ahead
    .run(() => hours.pausing((pause) => sendArtifact(pause ? { ...target, again: true } : target)))
    .catch((error: unknown) => {
      // Not a failure of the copy: what could not be sent ahead is sent with the rest, or fails there.
      if (!isCancellation(error)) log.warn('not sent ahead', { copy: copy.name, error: messageOf(error) });
      return undefined;
    });

  return {
    copy: copy.name,
    hasBegun() {
      if (!begun) job.copyState(copy.name, 'uploading');
      begun = true;
    },

    async finish() {
      begun = true;
      job.copyState(copy.name, 'uploading');
      try {
        await within(copy.deadlineMs, `The copy ${copy.name}`, make, hours.elapse);
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
      await sent;
      if (begun) await withdraw();
    },
  };

  async function make(): Promise<void> {
    // The deadline counts from now on; it must also end what was begun before.
    const pending = await Promise.race([sent, CancellationScope.current().cancelRequested]);
    const whole = pending ? { ...target, sent: pending } : target;
    await hours.pausing((pause) => transfer.uploadCopy(pause ? { ...whole, again: true } : whole));
    job.copyState(copy.name, 'verifying');
    await hours.pausing((pause) => {
      const from = pause?.told as CopyReadBack | undefined;
      return transfer.verifyCopy(from ? { ...target, from } : target);
    });
    await hours.ending(() => transfer.publishCopy(target));
  }

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
