import {
  ApplicationFailure,
  CancellationScope,
  defineQuery,
  isCancellation,
  log,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { CoordinationActivities } from '../activities/coordination.ts';
import type { HostActivities } from '../activities/host.ts';
import type { RetentionActivities } from '../activities/retention.ts';
import type { TransferActivities } from '../activities/transfer.ts';
import type { ValidationActivities } from '../activities/validation.ts';
import type { BackupPlan, PlannedCopy } from '../policies/backup-plan.ts';
import { queues } from '../policies/queues.ts';
import type { Validation } from '../policies/recovery-point.ts';
import { BackupJob } from './backup-job.ts';
import type { BackupInput, BackupResult, BackupStatus, CopyOutcome } from './contracts.ts';
import { messageOf } from './failure.ts';
import { bounded, long, short } from './options.ts';
import { withSlot } from './slot.ts';

const statusQuery = defineQuery<BackupStatus>('status');
const coordination = proxyActivities<CoordinationActivities>({ ...short, taskQueue: queues.coordination });

/**
 * Backs one source up: plan → slot → seal to the backup server's disk → validate → upload to every copy, each its own
 * branch → publish → catalog → prune → notify. Whatever happens, the slot is released and nothing staged is left; a
 * copy that was not finished is withdrawn; the outcome is recorded and people are told.
 */
export async function backup(input: BackupInput): Promise<BackupResult> {
  const job = new BackupJob(input.source, () => Date.now());
  setHandler(statusQuery, () => job.status());
  const show = () => setCurrentDetails(job.markdown());
  job.onChange = show;
  show();
  try {
    const plan = await job.phase('plan', () =>
      coordination.planBackup({
        source: input.source,
        level: input.level ?? 'full',
        classes: input.classes ?? ['manual'],
      }),
    );
    job.planned(plan);
    const result = await withSlot(
      { source: plan.source, critical: plan.critical, priority: plan.priority },
      { onQueued: (position) => job.queued(position), onGranted: () => job.granted() },
      () => run(job, plan),
    );
    await conclude(job, result, null);
    return result;
  } catch (error) {
    job.failed(messageOf(error));
    await CancellationScope.nonCancellable(() => conclude(job, null, error));
    throw error;
  }
}

async function run(job: BackupJob, plan: BackupPlan): Promise<BackupResult> {
  const host = proxyActivities<HostActivities>({ ...long, taskQueue: queues.backup(plan.host) });
  const quick = proxyActivities<HostActivities>({ ...short, taskQueue: queues.backup(plan.host) });
  try {
    const sealed = await job.phase('seal', () => host.sealPoint(plan));
    job.sealed(sealed);
    const validation = await job.phase('validate', () => validate(plan));
    job.validated(validation);
    await quick.signPoint({ plan, validation });
    const { copies, cancelled } = await job.phase('upload', () => makeCopies(job, plan));
    if (!copies.some((c) => c.state === 'verified')) {
      if (cancelled) throw cancelled;
      throw ApplicationFailure.nonRetryable(
        `No copy of ${plan.pointId} could be made: ${copies.map((c) => `${c.copy}: ${c.error}`).join('; ')}`,
        'StoreUnreachable',
        { next: 'Mend the stores (backupctl doctor shows each), then run the backup again.' },
      );
    }
    // A published copy exists whatever happens now, so the catalog must know of it even when the job was cancelled.
    const recorded = await CancellationScope.nonCancellable(() =>
      job.phase('record', () => coordination.recordPoint({ plan, copies })),
    );
    if (cancelled) throw cancelled;
    await job.phase('prune', () => prune(job, plan));
    return job.result(plan, copies, recorded.rule);
  } finally {
    await CancellationScope.nonCancellable(() => quick.discardStaging({ source: plan.source, pointId: plan.pointId }));
  }
}

/** The five checks. The restore test stops, and counts as failed, after the policy's limit (mission row C6). */
async function validate(plan: BackupPlan): Promise<Validation> {
  const queue = queues.validation(plan.host);
  const limited = proxyActivities<ValidationActivities>({ ...bounded(plan.validationTimeoutMs), taskQueue: queue });
  const sealed = await limited.checkSealed(plan);
  const restored = await limited.testRestore(plan);
  const checks = [...sealed, ...restored];
  const failed = checks.filter((c) => !c.passed);
  if (failed.length > 0) {
    throw ApplicationFailure.nonRetryable(
      `Validation of ${plan.pointId} failed: ${failed.map((c) => `${c.check}: ${c.error}`).join('; ')}`,
      'ValidationFailed',
      { next: 'Nothing was published. Look at the named check, mend its cause, and run the backup again.' },
    );
  }
  return { finishedAt: new Date().toISOString(), passed: true, checks };
}

/** All branches, each to its end: one that fails or is cancelled does not stop the others from cleaning up. */
async function makeCopies(job: BackupJob, plan: BackupPlan): Promise<{ copies: CopyOutcome[]; cancelled: unknown }> {
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
  const queue = queues.transfer(plan.host);
  const transfer = proxyActivities<TransferActivities>({ ...bounded(copy.deadlineMs), taskQueue: queue });
  const target = { plan, copy: copy.name };
  job.copyState(copy.name, 'uploading');
  try {
    await transfer.uploadCopy(target);
    job.copyState(copy.name, 'verifying');
    await transfer.verifyCopy(target);
    await transfer.publishCopy(target);
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
      // The store is likely still away: what lies there has no backup.json, so it is no point, and the sweep finds it.
      message += ` (and what was uploaded could not be removed yet: ${messageOf(undoError)})`;
    }
    if (isCancellation(error)) throw error;
    log.warn('copy failed', { copy: copy.name, pointId: plan.pointId, error: message });
    return { copy: copy.name, state: 'failed', error: message };
  }
}

/** Removes old local copies that the others can spare. A failure here costs space, not the backup: it is told, not thrown. */
async function prune(job: BackupJob, plan: BackupPlan): Promise<void> {
  const retention = proxyActivities<RetentionActivities>({ ...short, taskQueue: queues.retention(plan.host) });
  const steps = await coordination.planPrune({ source: plan.source });
  for (const { pointId, copy } of steps) {
    try {
      await retention.pruneCopy({ source: plan.source, pointId, copy });
      await coordination.recordPruned({ pointId, copy });
    } catch (error) {
      if (isCancellation(error)) throw error;
      job.warned(`${pointId} could not be pruned from ${copy}: ${messageOf(error)}`);
    }
  }
}

/** Writes down how the job ended, opens or closes its incident, and tells people. */
async function conclude(job: BackupJob, result: BackupResult | null, error: unknown): Promise<void> {
  const { workflowId, runId } = workflowInfo();
  job.concluding();
  await coordination.concludeJob({
    workflowId,
    runId,
    source: job.source,
    pointId: job.pointId,
    level: 'full',
    outcome: result ? result.outcome : isCancellation(error) ? 'cancelled' : 'failed',
    startedAt: job.startedAt,
    phases: job.phases(),
    error: error === null ? null : messageOf(error),
    result,
  });
  if (result) job.done();
}
