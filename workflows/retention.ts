import {
  ApplicationFailure,
  CancellationScope,
  isCancellation,
  log,
  proxyActivities,
  setCurrentDetails,
} from '@temporalio/workflow';
import { z } from 'zod';
import type { ExpiryActivities } from '../activities/expiry.ts';
import type { RetentionActivities } from '../activities/retention.ts';
import { queues } from '../policies/queues.ts';
import type { RetentionInput, RetentionResult, SourceRetention } from './contracts.ts';
import { asJobFailure, messageOf } from './failure.ts';
import { expiring, patient } from './options.ts';

const coordination = proxyActivities<ExpiryActivities>({ ...patient, taskQueue: queues.coordination });

/**
 * Removes what the policy lets go, source by source: what may go is marked, and removed in a later run when it may
 * still go. A source that fails does not keep the others from their turn; the run then fails with the first of them.
 */
export async function retention(input: RetentionInput = {}): Promise<RetentionResult> {
  const { source, by } = assertAsked(input);
  const results: SourceRetention[] = [];
  let failure: unknown = null;
  try {
    for (const name of await coordination.expirySources(source === undefined ? {} : { source })) {
      try {
        results.push(await expireSource(name, by));
        await coordination.concludeExpiry({ source: name, error: null });
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
    const { host, remove, more, stays, waiting, stopped } = await coordination.decideExpiry({ source, by, passOver });
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
    if (!more)
      return { source, outcome: stopped === null ? 'done' : 'stopped', stopped, stays, waiting, removed, refused };
  }
}

function line({ source, stopped, stays, waiting, removed, refused }: SourceRetention): string {
  if (stopped !== null) return `- ${source}: stopped, ${stopped}`;
  const counts = `${stays} stay, ${waiting} wait for their grace to end, ${removed.length} removed`;
  return `- ${source}: ${counts}${refused.length === 0 ? '' : `, ${refused.length} refused`}`;
}

const words = z.string().trim().min(1);
const schema = z
  .strictObject({ source: words.optional(), operator: words.optional(), reason: words.optional() })
  .refine(({ operator, reason }) => (operator === undefined) === (reason === undefined), {
    message: 'operator and reason go together',
  });

/** Who has it removed, in words: the schedule gives no name. */
function assertAsked(input: RetentionInput): { source: string | undefined; by: string } {
  const { data, error } = schema.safeParse(input);
  if (data) {
    const { source, operator, reason } = data;
    return { source, by: operator === undefined ? 'the schedule' : `${operator}: ${reason}` };
  }
  const problems = error.issues.map((i) => `${i.path.join('.') || 'the input'}: ${i.message}`);
  throw ApplicationFailure.nonRetryable(`Retention cannot be started: ${problems.join('; ')}.`, 'UsageInvalid', {
    next: 'Give it as {"source": "NAME", "operator": "NAME", "reason": "TEXT"}, or as {} for all sources.',
  });
}
