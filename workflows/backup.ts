import {
  ApplicationFailure,
  CancellationScope,
  condition,
  defineQuery,
  isCancellation,
  log,
  proxyActivities,
  setHandler,
  sleep,
} from '@temporalio/workflow';
import type { CoordinationActivities } from '../activities/coordination.ts';
import type { HostActivities } from '../activities/host.ts';
import type { CopyOfPoint, RetentionActivities } from '../activities/retention.ts';
import type { ValidationActivities } from '../activities/validation.ts';
import type { BackupPlan } from '../policies/backup-plan.ts';
import { fullInstead } from '../policies/chain.ts';
import { formatDuration } from '../policies/progress.ts';
import { queues } from '../policies/queues.ts';
import type { Check, Level, Validation } from '../policies/recovery-point.ts';
import { type Copies, type Sending, sendCopies } from './backup-copies.ts';
import { concludeBackup, showBackup } from './backup-end.ts';
import { BackupJob } from './backup-job.ts';
import type { BackupInput, BackupResult, BackupStatus } from './contracts.ts';
import { asJobFailure, messageOf, timeoutOf, typeOf } from './failure.ts';
import { areOver, type Hours, keepingHours } from './hours.ts';
import { assertBackupInput } from './inputs.ts';
import { long, patient, short, testing } from './options.ts';
import { type Slot, slotHolder } from './slot.ts';

const statusQuery = defineQuery<BackupStatus>('status');
const coordination = proxyActivities<CoordinationActivities>({ ...short, taskQueue: queues.coordination });
const catalog = proxyActivities<CoordinationActivities>({ ...patient, taskQueue: queues.coordination });

/**
 * Backs one source up: plan → window → slot → seal to the backup server's disk → validate → upload to every copy, each its
 * own branch → publish → catalog → prune → notify. Bytes are sent while they are sealed, and become visible once they are
 * validated. Whatever happens, the slot is released and nothing staged is left; a copy that was not finished is
 * withdrawn; the outcome is recorded and people are told. What cannot be removed because its host or store is away is
 * left to the workflow `cleanup`.
 */
export async function backup(input: BackupInput): Promise<BackupResult> {
  const asked = assertBackupInput(input);
  const job = new BackupJob(asked, () => Date.now());
  setHandler(statusQuery, () => job.status());
  showBackup(job);
  try {
    const { plan, made } = await makeInTurn(job, asked);
    const { copies, cancelled } = made;
    // A published copy exists whatever happens now, so the catalog must know of it even when the job was cancelled.
    const { rule } = await CancellationScope.nonCancellable(() =>
      job.phase('record', () => catalog.recordPoint({ plan, copies })),
    );
    if (cancelled) throw cancelled;
    await job.phase('prune', () => prune(job, plan));
    await concludeBackup(job, { result: job.result(plan, copies, rule), error: null });
    return job.result(plan, copies, rule);
  } catch (error) {
    await concludeBackup(job, { result: null, error });
    throw asJobFailure(error);
  }
}

/** Plans, waits for a slot, and makes the point; anew when the source's hours were over before its turn had come. */
async function makeInTurn(job: BackupJob, asked: Required<BackupInput>): Promise<{ plan: BackupPlan; made: Copies }> {
  const holding = slotHolder({
    onAsking: () => job.asking(),
    onQueued: (position, why) => job.queued(position, why),
    onGranted: () => job.granted(),
  });
  for (;;) {
    const plan = await planInWindow(job, asked);
    job.planned(plan);
    const { source, critical, priority } = plan;
    const made = await holding({ source, critical, priority }, async (slot) => {
      if (areOver(plan)) return null;
      return keepingHours(
        plan,
        (begin) => job.opensAt(begin),
        (hours) => makePoint(job, plan, { hours, slot }),
      );
    });
    if (made) return { plan, made };
  }
}

/** The plan of a moment at which the source may be backed up. Until then nothing is held but a timer. */
async function planInWindow(job: BackupJob, asked: Required<BackupInput>): Promise<BackupPlan> {
  for (;;) {
    const plan = await job.phase('plan', () => coordination.planBackup(asked));
    const { waitUntil } = plan;
    if (waitUntil === undefined) return plan;
    job.opensAt(waitUntil);
    await job.phase('window', () => sleep(Math.max(1_000, Date.parse(waitUntil) - Date.now())));
    job.opensAt(null);
  }
}

/** What a job goes by while it holds a slot. */
interface Turn {
  hours: Hours;
  slot: Slot;
}

/** What is done while holding a slot. At least one copy is whole when this returns. */
async function makePoint(job: BackupJob, plan: BackupPlan, turn: Turn): Promise<Copies> {
  const quick = proxyActivities<HostActivities>({ ...short, taskQueue: queues.backup(plan.host) });
  let published = false;
  try {
    const sending = await sealValid(job, plan, turn);
    const made = await finishCopies(job, sending, turn);
    published = made.copies.some((c) => c.state === 'verified');
    if (published) return made;
    if (made.cancelled) throw made.cancelled;
    throw ApplicationFailure.nonRetryable(
      `No copy of ${plan.pointId} could be made: ${made.copies.map((c) => `${c.copy}: ${c.error}`).join('; ')}`,
      'StoreUnreachable',
      { next: 'Mend the stores (backupctl doctor shows each), then run the backup again.' },
    );
  } finally {
    try {
      await CancellationScope.nonCancellable(() =>
        quick.discardStaging({ source: plan.source, pointId: plan.pointId, published }),
      );
    } catch (error) {
      // The host is away. How the job ended does not depend on it.
      job.leaves({ staging: true });
      log.warn('what was staged could not be removed yet', { pointId: plan.pointId, error: messageOf(error) });
    }
  }
}

/**
 * Every copy comes to its end. When the source's hours are over first, others have the slot until they begin again. Should
 * waiting come to an end otherwise, so do the copies that are not whole.
 */
async function finishCopies(job: BackupJob, sending: Sending, { hours, slot }: Turn): Promise<Copies> {
  const scope = new CancellationScope();
  let isOver = false;
  const finished = scope
    .run(() => sending.finish())
    .finally(() => {
      isOver = true;
    });
  try {
    for (;;) {
      await job.phase('upload', () => condition(() => isOver || hours.isAtRest()));
      if (isOver) return await finished;
      await hours.begin(
        slot,
        (until) => job.phase('window', until),
        () => isOver,
      );
    }
  } catch (error) {
    scope.cancel();
    const made = await finished;
    return made.cancelled === null ? made : { ...made, cancelled: error };
  }
}

/**
 * Seals, validates and signs, and sends meanwhile. A point that is built upon others and does not pass is taken again as a
 * full one: something that has changed was missed, or the others are damaged.
 */
async function sealValid(job: BackupJob, plan: BackupPlan, turn: Turn): Promise<Sending> {
  const host = proxyActivities<HostActivities>({ ...long, taskQueue: queues.backup(plan.host) });
  const quick = proxyActivities<HostActivities>({ ...short, taskQueue: queues.backup(plan.host) });
  const sending = sendCopies(job, plan, turn.hours);
  let level: Level = 'full';
  try {
    const sealed = await job.phase('seal', () => host.sealPoint(plan));
    job.sealed(sealed);
    level = sealed.level;
    const validation = await job.phase('validate', () => validate(plan));
    job.validated(validation);
    await quick.signPoint({ plan, validation });
    return sending;
  } catch (error) {
    await sending.takeBack();
    if (level === 'full' || typeOf(error) !== 'ValidationFailed') throw error;
    job.warn(`${fullInstead(level, 'what was made did not pass')} ${messageOf(error)}`);
    await quick.discardStaging({ source: plan.source, pointId: plan.pointId, published: false });
    await turn.hours.begin(turn.slot, (until) => job.phase('window', until));
    return sealValid(job, { ...plan, level: 'full', parent: null }, turn);
  }
}

/** The five checks. The restore test stops, and counts as failed, after the policy's limit (mission row C6). */
async function validate(plan: BackupPlan): Promise<Validation> {
  const taskQueue = queues.validation(plan.host);
  const { checkSealed } = proxyActivities<ValidationActivities>({ ...long, taskQueue });
  const checks = [...(await checkSealed(plan)), ...(await testRestore(plan))];
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

async function testRestore(plan: BackupPlan): Promise<Check[]> {
  const limited = proxyActivities<ValidationActivities>({
    ...testing(plan.validationTimeoutMs),
    taskQueue: queues.validation(plan.host),
  });
  try {
    return await limited.testRestore(plan);
  } catch (error) {
    if (timeoutOf(error) !== 'START_TO_CLOSE') throw error;
    throw ApplicationFailure.create({
      type: 'ValidationTimedOut',
      message: `The test restore of ${plan.pointId} did not end within ${formatDuration(plan.validationTimeoutMs)}, nor when it was told to.`,
      nonRetryable: true,
      details: [{ next: 'Nothing was published. Look at the validation worker: it may hang.' }],
      cause: error as Error,
    });
  }
}

/** Old copies that go with one job; the rest goes with the next, so that no history grows with what has piled up. */
const pruneMax = 5;

/** Removes old local copies that the others can spare. A failure here costs space, not the backup: it is told, not thrown. */
async function prune(job: BackupJob, plan: BackupPlan): Promise<void> {
  const { pruneCopy } = proxyActivities<RetentionActivities>({ ...short, taskQueue: queues.retention(plan.host) });
  const tell = (what: string, error: unknown) => {
    job.warn(`${what}: ${isCancellation(error) ? 'the job was cancelled' : messageOf(error)}`);
  };
  const pruned: CopyOfPoint[] = [];
  /** What is needed by something that could not be removed, as COPY/POINT. */
  const needed = new Set<string>();
  try {
    for (const { pointId, parent, copy } of (await coordination.planPrune({ source: plan.source })).slice(
      0,
      pruneMax,
    )) {
      if (needed.has(`${copy}/${pointId}`)) {
        needed.add(`${copy}/${parent}`);
        continue;
      }
      const old = { source: plan.source, pointId, copy };
      try {
        await pruneCopy(old);
        pruned.push(old);
      } catch (error) {
        needed.add(`${copy}/${parent}`);
        tell(`${pointId} could not be pruned from ${copy}`, error);
      }
    }
    // Should this fail, the next job plans them again, finds them gone, and records it.
    if (pruned.length > 0) await CancellationScope.nonCancellable(() => coordination.recordPruned({ pruned }));
  } catch (error) {
    tell(`Not all is known of what may be pruned from the copies of ${plan.source}`, error);
  }
}
