import {
  ApplicationFailure,
  CancellationScope,
  isCancellation,
  log,
  patched,
  proxyActivities,
  setCurrentDetails,
  workflowInfo,
} from '@temporalio/workflow';
import type { RecoveryActivities } from '../activities/recovery.ts';
import { formatBytes } from '../policies/progress.ts';
import { queues } from '../policies/queues.ts';
import type { JobState } from '../policies/search-attributes.ts';
import type { RestoreInput, RestoreResult } from './contracts.ts';
import { asJobFailure, messageOf } from './failure.ts';
import { assertRestoreInput } from './inputs.ts';
import { createLabels } from './labels.ts';
import { restoring, short } from './options.ts';

/** Restores a recovery point into an empty place, because a named person asked for it, for a reason. */
export async function restore(input: RestoreInput): Promise<RestoreResult> {
  assertAsked(input);
  const wanted = assertRestoreInput(input);
  const { source, operator, reason } = wanted;
  const from = Date.now();
  const taskQueue = queues.recovery(wanted.host ?? 'local');
  const { locatePoint, discardRestore } = proxyActivities<RecoveryActivities>({ ...short, taskQueue });
  const { restorePoint } = proxyActivities<RecoveryActivities>({ ...restoring, taskQueue });
  const label = createLabels();
  /** The Web UI, its lists, and the log of the worker (mission row G1). */
  const show = (status: JobState, words: string) => {
    label({ source, status });
    setCurrentDetails(`${words}\n\nAsked by ${operator}: ${reason}`);
    log.info(words, { source, operator, reason, status });
  };
  show('running', `🔎 Looking for ${wanted.pointId ?? `the newest point of ${source}`}`);
  let hasBegun = false;
  try {
    const located = await locatePoint(wanted);
    const point = `\`${located.pointId}\` from ${located.from}`;
    show('running', `♻️ Restoring ${point}`);
    hasBegun = true;
    const restored = await restorePoint({ ...wanted, ...located });
    show('succeeded', `✅ Restored ${point}: ${formatBytes(restored.bytes)}, ${restored.entries} entries`);
    return { ...restored, durationMs: Date.now() - from };
  } catch (error) {
    if (hasBegun && patched('discard-restore')) await discard(() => discardRestore(wanted));
    if (isCancellation(error)) show('cancelled', '🛑 Cancelled; what was written is removed');
    else show('failed', `❌ ${messageOf(error)}`);
    throw asJobFailure(error);
  }
}

/** An attempt that fails tidies up by itself; one that was killed, and not followed by another, could not. */
async function discard(remove: () => Promise<void>): Promise<void> {
  try {
    await CancellationScope.nonCancellable(remove);
  } catch (error) {
    log.warn('what was written could not be removed', { error: messageOf(error) });
  }
}

/** Set by Temporal on what a schedule starts. */
const startedBySchedule = 'TemporalScheduledById';

/** Mission row C4: a person starts it, nothing automatic does, and the person says who it is and why. */
function assertAsked(input: RestoreInput): void {
  const { parent, cronSchedule, typedSearchAttributes } = workflowInfo();
  const reasons: string[] = [];
  if (parent) reasons.push('it was started by another workflow');
  if (cronSchedule || typedSearchAttributes.getAll().some(({ key }) => key.name === startedBySchedule)) {
    reasons.push('it was started by a schedule');
  }
  if (!isText(input?.operator)) reasons.push('no operator is named');
  if (!isText(input?.reason)) reasons.push('no reason is given');
  if (reasons.length === 0) return;
  throw ApplicationFailure.nonRetryable(`The restore is refused: ${reasons.join('; ')}.`, 'NotHumanTriggered', {
    next: 'Start it by hand with operator and reason: backupctl restore SOURCE --operator NAME --reason TEXT.',
  });
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value.trim() !== '';
}
