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
import type { Located } from '../activities/moment.ts';
import type { RecoveryActivities } from '../activities/recovery.ts';
import { formatBytes } from '../policies/progress.ts';
import { queues } from '../policies/queues.ts';
import type { JobState } from '../policies/search-attributes.ts';
import type { RestoreInput, RestoreResult } from './contracts.ts';
import { asJobFailure, messageOf, typeOf } from './failure.ts';
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
  const { locatePoint, keepRestore, discardRestore } = proxyActivities<RecoveryActivities>({ ...short, taskQueue });
  const { restorePoint } = proxyActivities<RecoveryActivities>({ ...restoring, taskQueue });
  const label = createLabels();
  /** The Web UI, its lists, and the log of the worker (mission row G1). */
  const show = (status: JobState, words: string) => {
    label({ source, status });
    setCurrentDetails(`${words}\n\nAsked by ${operator}: ${reason}`);
    log.info(words, { source, operator, reason, status });
  };
  show('running', `🔎 Looking for ${wanted.pointId ?? `the newest point of ${source}`}`);
  /** Copies that turned out not to have it any more, and what each said. */
  const lost: { copy: string; why: string }[] = [];
  let hasBegun = false;
  const restoreFrom = async (located: Located): Promise<RestoreResult> => {
    const point = `\`${located.pointId}\` from ${located.from}`;
    show('running', `♻️ Restoring ${point}`);
    hasBegun = true;
    const { warnings, ...restored } = await restorePoint({ ...wanted, ...located });
    if ('directory' in wanted.into && patched('keep-restore')) warnings.push(...(await keep(wanted.into.directory)));
    show('succeeded', `✅ Restored ${point}: ${formatBytes(restored.bytes)}, ${restored.entries} entries`);
    const told = lost.map(({ copy, why }) => `Not from ${copy}: ${why}`);
    return { ...restored, warnings: [...told, ...warnings], durationMs: Date.now() - from };
  };
  /** From here on the folder is whoever's it is for. What stays marked is no reason to remove it again. */
  const keep = async (directory: string): Promise<string[]> => {
    try {
      await CancellationScope.nonCancellable(() => keepRestore(wanted));
      return [];
    } catch (error) {
      return [`${directory} is whole, but the file .restoring-… in it could not be removed: ${messageOf(error)}`];
    }
  };
  try {
    let located = await locatePoint(wanted);
    for (;;) {
      try {
        return await restoreFrom(located);
      } catch (error) {
        // Whoever names a copy is not given another; and nothing is written where something may be left.
        if (wanted.from !== undefined || !isLoss(error) || !(await discard(() => discardRestore(wanted)))) throw error;
        hasBegun = false;
        lost.push({ copy: located.from, why: messageOf(error) });
        show('running', `🔎 ${messageOf(error)}; looking for another copy`);
        // The very same point; a moment may be reached from another one as well.
        const same = wanted.to ? {} : { pointId: located.pointId };
        located = await elsewhere(locatePoint({ ...wanted, ...same, passOver: lost.map((l) => l.copy) }), error);
      }
    }
  } catch (error) {
    if (hasBegun && patched('discard-restore')) await discard(() => discardRestore(wanted));
    if (isCancellation(error)) show('cancelled', '🛑 Cancelled; what was written is removed');
    else show('failed', `❌ ${messageOf(error)}`);
    throw asJobFailure(error);
  }
}

/** A copy had the point when it was located, and retention, pruning or a person has removed it, or part of it, since. */
function isLoss(error: unknown): boolean {
  return ['ObjectMissing', 'KeyMissing', 'ChainBroken'].includes(typeOf(error) ?? '');
}

/** Where no other copy has it, what the last one lacks says more than that there is none. */
async function elsewhere(locating: Promise<Located>, loss: unknown): Promise<Located> {
  try {
    return await locating;
  } catch (error) {
    throw ['CopyUnknown', 'PointUnknown'].includes(typeOf(error) ?? '') ? loss : error;
  }
}

/** An attempt that fails tidies up by itself; one that was killed, and not followed by another, could not. False when it failed. */
async function discard(remove: () => Promise<void>): Promise<boolean> {
  try {
    await CancellationScope.nonCancellable(remove);
    return true;
  } catch (error) {
    log.warn('what was written could not be removed', { error: messageOf(error) });
    return false;
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
