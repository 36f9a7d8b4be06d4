import { ApplicationFailure, log, proxyActivities, setCurrentDetails, workflowInfo } from '@temporalio/workflow';
import type { RecoveryActivities } from '../activities/recovery.ts';
import { formatBytes } from '../policies/progress.ts';
import { queues } from '../policies/queues.ts';
import type { RestoreInput, RestoreResult } from './contracts.ts';
import { restoring, short } from './options.ts';

/** Restores a recovery point into an empty place, because a named person asked for it, for a reason. */
export async function restore(input: RestoreInput): Promise<RestoreResult> {
  assertAsked(input);
  const from = Date.now();
  const queue = queues.recovery(input.host ?? 'local');
  const { locatePoint } = proxyActivities<RecoveryActivities>({ ...short, taskQueue: queue });
  const { restorePoint } = proxyActivities<RecoveryActivities>({ ...restoring, taskQueue: queue });
  const located = await locatePoint(input);
  const asked = `Asked by ${input.operator}: ${input.reason}`;
  setCurrentDetails(`Restoring \`${located.pointId}\` from ${located.from}\n\n${asked}`);
  log.info('restoring', { ...located, operator: input.operator, reason: input.reason });
  const restored = await restorePoint({ ...input, ...located });
  const size = formatBytes(restored.bytes);
  setCurrentDetails(
    `Restored \`${located.pointId}\` from ${located.from}: ${size}, ${restored.entries} entries\n\n${asked}`,
  );
  return { ...restored, durationMs: Date.now() - from };
}

/** Mission row C4: a person starts it, not a parent workflow, and says who and why. */
function assertAsked(input: RestoreInput): void {
  const reasons: string[] = [];
  if (workflowInfo().parent) reasons.push('it was started by another workflow');
  if (!input.operator?.trim()) reasons.push('no operator is named');
  if (!input.reason?.trim()) reasons.push('no reason is given');
  if (reasons.length === 0) return;
  throw ApplicationFailure.nonRetryable(`The restore is refused: ${reasons.join('; ')}.`, 'NotHumanTriggered', {
    next: 'Start it by hand with operator and reason: backupctl restore SOURCE --operator NAME --reason TEXT.',
  });
}
