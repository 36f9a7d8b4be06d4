import {
  ApplicationFailure,
  CancellationScope,
  continueAsNew,
  isCancellation,
  log,
  proxyActivities,
  setCurrentDetails,
} from '@temporalio/workflow';
import type { ExpiryActivities } from '../activities/expiry.ts';
import type { RetentionActivities } from '../activities/retention.ts';
import { formatBytes } from '../policies/progress.ts';
import { queues } from '../policies/queues.ts';
import { isSpent } from './budget.ts';
import type { RetentionInput, RetentionResult, RetentionState, SourceRetention } from './contracts.ts';
import { asJobFailure, causeOf, messageOf } from './failure.ts';
import { assertRetentionInput } from './inputs.ts';
import { expiring, patient } from './options.ts';

const coordination = proxyActivities<ExpiryActivities>({ ...patient, taskQueue: queues.coordination });

/** Points that are named of one source, and of all: results travel from run to run. The others are counted. */
const namedMax = 100;
const allNamedMax = 2_000;
/** Sources that the Web UI shows, the last ones. */
const shownMax = 50;

/**
 * Removes what the policy lets go, source by source: what may go is marked, and removed in a later run when it may
 * still go. A source that fails does not keep the others from their turn; the run then fails with the first of them.
 */
export async function retention(input: RetentionInput = {}): Promise<RetentionResult> {
  const wanted = assertRetentionInput(input);
  const { source, operator, reason, historyBudget } = wanted;
  const by = operator === undefined ? 'the schedule' : `${operator}: ${reason}`;
  const state: RetentionState = wanted.state ?? { toDo: null, removed: [], refused: [], sources: [], failure: null };
  try {
    state.toDo ??= await coordination.expirySources(source === undefined ? {} : { source });
    for (let [name] = state.toDo; name !== undefined; [name] = state.toDo) {
      try {
        const result = await expirePart(name, by, state);
        if (result) {
          await coordination.concludeExpiry({ source: name, error: null, ...(result.wal ? { wal: result.wal } : {}) });
          state.sources.push(result);
          nextSource(state);
        }
      } catch (error) {
        if (isCancellation(error)) throw error;
        log.warn('expiry failed', { source: name, error: messageOf(error) });
        await coordination.concludeExpiry({ source: name, error: messageOf(error) });
        const { type, details } = causeOf(error) ?? {};
        state.failure ??= { type: type ?? null, message: messageOf(error), details: details ?? [] };
        nextSource(state);
      }
      setCurrentDetails(words(state));
      if (isSpent(historyBudget)) break;
    }
  } catch (error) {
    throw asJobFailure(error);
  }
  if (state.toDo.length > 0) await continueAsNew<typeof retention>({ ...wanted, state });
  if (state.failure)
    throw ApplicationFailure.create({ ...state.failure, type: state.failure.type ?? undefined, nonRetryable: true });
  return { sources: state.sources };
}

function nextSource(state: RetentionState): void {
  state.toDo?.shift();
  Object.assign(state, { removed: [], refused: [] });
}

/** Removes as much of a source as goes at once. Null when there is more. */
async function expirePart(source: string, by: string, state: RetentionState): Promise<SourceRetention | null> {
  const passOver = state.refused.map((r) => r.pointId);
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
      if (why === null) state.removed.push(pointId);
      else state.refused.push({ pointId, why });
    }
  }
  if (more) return null;
  const outcome = stopped === null ? 'done' : 'stopped';
  const result: SourceRetention = { source, outcome, stopped, stays, waiting, ...named(state) };
  if (!mark) return result;
  const { expireWal } = proxyActivities<RetentionActivities>({ ...expiring, taskQueue: queues.retention(host) });
  return { ...result, wal: await expireWal({ source, mark }) };
}

/** What became of the points of the source under way, the first by name. */
function named({ removed, refused, sources }: RetentionState) {
  const before = sources.reduce((sum, s) => sum + s.removed.length + s.refused.length, 0);
  const room = Math.min(namedMax, Math.max(0, allNamedMax - before));
  return {
    removed: removed.slice(0, room),
    moreRemoved: removed.slice(room).length,
    refused: refused.slice(0, room),
    moreRefused: refused.slice(room).length,
  };
}

function words({ sources, toDo }: RetentionState): string {
  const hidden = Math.max(0, sources.length - shownMax);
  return [
    ...(toDo && toDo.length > 0 ? [`${sources.length} sources done, ${toDo.length} to do\n`] : []),
    ...sources.slice(-shownMax).map(line),
    ...(hidden > 0 ? [`- and ${hidden} before them`] : []),
  ].join('\n');
}

function line({
  source,
  stopped,
  stays,
  waiting,
  removed,
  moreRemoved,
  refused,
  moreRefused,
  wal,
}: SourceRetention): string {
  if (stopped !== null) return `- ${source}: stopped, ${stopped}`;
  const counts = `${stays} stay, ${waiting} wait for their grace to end, ${removed.length + moreRemoved} removed`;
  const left = refused.length + moreRefused;
  const gone = wal ? `, ${formatBytes(wal.bytes)} of WAL removed` : '';
  return `- ${source}: ${counts}${left === 0 ? '' : `, ${left} refused`}${gone}`;
}
