import { CancellationScope, isCancellation, log, proxyActivities, setCurrentDetails } from '@temporalio/workflow';
import type { ExpiryActivities } from '../activities/expiry.ts';
import type { RetentionActivities } from '../activities/retention.ts';
import { formatBytes } from '../policies/progress.ts';
import { queues } from '../policies/queues.ts';
import type { RetentionInput, RetentionResult, SourceRetention } from './contracts.ts';
import { asJobFailure, messageOf } from './failure.ts';
import { assertRetentionInput } from './inputs.ts';
import { expiring, patient } from './options.ts';

const coordination = proxyActivities<ExpiryActivities>({ ...patient, taskQueue: queues.coordination });

/**
 * Removes what the policy lets go, source by source: what may go is marked, and removed in a later run when it may
 * still go. A source that fails does not keep the others from their turn; the run then fails with the first of them.
 */
export async function retention(input: RetentionInput = {}): Promise<RetentionResult> {
  const { source, operator, reason } = assertRetentionInput(input);
  const by = operator === undefined ? 'the schedule' : `${operator}: ${reason}`;
  const results: SourceRetention[] = [];
  let failure: unknown = null;
  try {
    for (const name of await coordination.expirySources(source === undefined ? {} : { source })) {
      try {
        const result = await expireSource(name, by);
        results.push(result);
        await coordination.concludeExpiry({ source: name, error: null, ...(result.wal ? { wal: result.wal } : {}) });
      } catch (error) {
        if (isCancellation(error)) throw error;
        log.warn('expiry failed', { source: name, error: messageOf(error) });
        await coordination.concludeExpiry({ source: name, error: messageOf(error) });
        failure ??= error;
      }
      setCurrentDetails(results.map(line).join('\n'));
    }
  } catch (error) {
    throw asJobFailure(error);
  }
  if (failure) throw asJobFailure(failure);
  return { sources: results };
}

async function expireSource(source: string, by: string): Promise<SourceRetention> {
  const removed: string[] = [];
  const refused: SourceRetention['refused'] = [];
  for (;;) {
    const passOver = refused.map((r) => r.pointId);
    const {
      host,
      remove,
      more,
      stays,
      waiting,
      stopped,
      wal: mark,
    } = await coordination.decideExpiry({ source, by, passOver });
    if (remove.length > 0) {
      const { expirePoints } = proxyActivities<RetentionActivities>({ ...expiring, taskQueue: queues.retention(host) });
      const expired = await expirePoints({ source, pointIds: remove });
      // What is gone is gone: the catalog must know, also when the run is ended meanwhile.
      await CancellationScope.nonCancellable(() => coordination.recordExpired({ source, expired }));
      for (const { pointId, refused: why } of expired) {
        if (why === null) removed.push(pointId);
        else refused.push({ pointId, why });
      }
    }
    if (more) continue;
    const outcome = stopped === null ? 'done' : 'stopped';
    const result = { source, outcome, stopped, stays, waiting, removed, refused } as const;
    if (!mark) return result;
    const { expireWal } = proxyActivities<RetentionActivities>({ ...expiring, taskQueue: queues.retention(host) });
    return { ...result, wal: await expireWal({ source, mark }) };
  }
}

function line({ source, stopped, stays, waiting, removed, refused, wal }: SourceRetention): string {
  if (stopped !== null) return `- ${source}: stopped, ${stopped}`;
  const counts = `${stays} stay, ${waiting} wait for their grace to end, ${removed.length} removed`;
  const gone = wal ? `, ${formatBytes(wal.bytes)} of WAL removed` : '';
  return `- ${source}: ${counts}${refused.length === 0 ? '' : `, ${refused.length} refused`}${gone}`;
}
