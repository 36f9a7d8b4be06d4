import {
  CancellationScope,
  isCancellation,
  log,
  ParentClosePolicy,
  proxyActivities,
  setCurrentDetails,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import type { CoordinationActivities, JobEnd } from '../activities/coordination.ts';
import { queues } from '../policies/queues.ts';
import type { BackupJob } from './backup-job.ts';
import type { BackupResult, CleanupInput } from './contracts.ts';
import { messageOf } from './failure.ts';
import { createLabels } from './labels.ts';
import { patient, short } from './options.ts';

const coordination = proxyActivities<CoordinationActivities>({ ...short, taskQueue: queues.coordination });
const catalog = proxyActivities<CoordinationActivities>({ ...patient, taskQueue: queues.coordination });

/** Keeps the Web UI and its lists up to date, and says every new phase in the log of the worker (mission row G1). */
export function showBackup(job: BackupJob): void {
  const label = createLabels();
  let said = '';
  job.onChange = () => {
    label(job.labels());
    setCurrentDetails(job.markdown());
    const { phase, source, pointId } = job.status();
    if (phase === said) return;
    said = phase;
    log.info(job.progressLine(), { source, phase, pointId });
  };
  job.onChange();
}

/**
 * Tells people, writes down how the job ended, opens or closes its incident, and has removed later what could not be
 * removed now. Runs to its end also when the job was cancelled. Throws nothing: the job ends as it did, whatever
 * becomes of the telling.
 */
export function concludeBackup(
  job: BackupJob,
  { result, error }: { result: BackupResult | null; error: unknown },
): Promise<void> {
  return CancellationScope.nonCancellable(async () => {
    const { workflowId, runId } = workflowInfo();
    const outcome = result ? result.outcome : isCancellation(error) ? 'cancelled' : 'failed';
    if (outcome === 'failed' || outcome === 'cancelled') job.failed(messageOf(error), outcome);
    else job.concluding(outcome);
    const end: Omit<JobEnd, 'unreached'> = {
      workflowId,
      runId,
      source: job.source,
      pointId: job.pointId,
      level: job.level,
      outcome,
      startedAt: job.startedAt,
      finishedAt: new Date().toISOString(),
      phases: job.phases(),
      error: result ? null : messageOf(error),
      result,
      leftovers: job.leftovers(),
    };
    // People first: the catalog may be the very thing that is down.
    const unreached = await coordination
      .announceJob(end)
      .catch((failure: unknown) => [`Nobody could be told: ${messageOf(failure)}`]);
    try {
      await catalog.concludeJob({ ...end, unreached });
    } catch (failure) {
      const message = `How the job ended could not be written to the catalog: ${messageOf(failure)}`;
      job.warn(message);
      log.error(message, { source: job.source });
    }
    await leaveToCleanup(job);
    if (result) job.done();
  });
}

/** It goes on by itself when this job has ended. */
async function leaveToCleanup(job: BackupJob): Promise<void> {
  const leftovers = job.leftovers();
  const { pointId, host } = job;
  if (pointId === null || host === null || (!leftovers.staging && leftovers.copies.length === 0)) return;
  const input: CleanupInput = { ...leftovers, source: job.source, pointId, host };
  try {
    await startChild('cleanup', {
      workflowId: `cleanup/${pointId}`,
      args: [input],
      parentClosePolicy: ParentClosePolicy.ABANDON,
      staticSummary: `Remove what the backup of ${job.source} had to leave behind`,
    });
  } catch (error) {
    // A job that was reset has started it before.
    log.warn('the cleanup was not started', { pointId, error: messageOf(error) });
  }
}
