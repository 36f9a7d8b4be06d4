import { continueAsNew, isCancellation, log, proxyActivities, setCurrentDetails } from '@temporalio/workflow';
import type { RekeyActivities } from '../activities/rekey.ts';
import type { RetentionActivities } from '../activities/retention.ts';
import { queues } from '../policies/queues.ts';
import { isSpent } from './budget.ts';
import type { RekeyInput, RekeyResult, RekeyState, RekeyTarget, SourceRekeyed } from './contracts.ts';
import { asJobFailure, messageOf } from './failure.ts';
import { assertRekeyInput } from './inputs.ts';
import { expiring } from './options.ts';

/** Lines of one list of one source, and of all lists: they travel from run to run. */
const linesMax = 50;
const allLinesMax = 1_000;

/**
 * Wraps the keys of points and of archived WAL for the present recipients, source by source, a page at a time, and takes
 * the former ones away where that was asked for. Repeating it changes nothing, and finishes what an earlier run could not.
 */
export async function rekey(input: RekeyInput): Promise<RekeyResult> {
  const wanted = assertRekeyInput(input);
  const { targets, copies, revoke = false, operator, reason, historyBudget } = wanted;
  const state: RekeyState = { ...wanted.state, sources: [...wanted.state.sources] };
  const { sources } = state;
  if (state.target === 0 && state.after === null) log.info('wrapping keys anew', { operator, reason, revoke });
  try {
    for (let target = targets[state.target]; target; target = targets[state.target]) {
      sources[state.target] ??= nothingYet(target, revoke);
      try {
        await (state.step === 'points' ? rekeyPoints : rekeyWal)(state, target, copies);
      } catch (error) {
        // What is wrong with one source keeps nobody from the others.
        if (isCancellation(error)) throw error;
        note(state, 'problems', [messageOf(error)]);
        nextTarget(state);
      }
      setCurrentDetails(`${sources.map(line).join('\n')}\n\nAsked by ${operator}: ${reason}`);
      if (isSpent(historyBudget)) break;
    }
  } catch (error) {
    throw asJobFailure(error);
  }
  if (state.target < targets.length) await continueAsNew<typeof rekey>({ ...wanted, state });
  return { sources };
}

/** A page of the points of the target that it is at. */
async function rekeyPoints(state: RekeyState, target: RekeyTarget, copies: string[] | undefined): Promise<void> {
  const { source, points, host = 'local' } = target;
  const recovery = proxyActivities<RekeyActivities>({ ...expiring, taskQueue: queues.recovery(host) });
  const what = { source, ...(points ? { points } : {}), ...(copies ? { copies } : {}) };
  const page = await recovery.rekeyPoints({ ...what, after: state.after });
  const result = resultOf(state);
  result.points += page.points;
  result.added += page.added;
  result.present += page.present;
  result.unproven += page.unproven;
  note(state, 'problems', page.problems, page.moreProblems);
  if (result.revoked !== null && page.former.length > 0) {
    const retention = proxyActivities<RetentionActivities>({ ...expiring, taskQueue: queues.retention(host) });
    const outcomes = await retention.removeKeys({ source, former: page.former });
    noteRevoked(
      state,
      outcomes.map(({ pointId, ...outcome }) => ({ what: pointId, ...outcome })),
    );
  }
  state.after = page.after;
  if (page.after !== null) return;
  if (points) nextTarget(state);
  else state.step = 'wal';
}

/** A page of its archived WAL. */
async function rekeyWal(state: RekeyState, target: RekeyTarget, copies: string[] | undefined): Promise<void> {
  const { source, host = 'local' } = target;
  const recovery = proxyActivities<RekeyActivities>({ ...expiring, taskQueue: queues.recovery(host) });
  const page = await recovery.rekeyWal({ source, ...(copies ? { copies } : {}), after: state.after });
  const { wal, revoked } = resultOf(state);
  wal.objects += page.objects;
  wal.added += page.added;
  wal.present += page.present;
  wal.unproven += page.unproven;
  wal.inLine += page.inLine;
  note(state, 'problems', page.problems, page.moreProblems);
  if (revoked !== null && page.former.length > 0) {
    const retention = proxyActivities<RetentionActivities>({ ...expiring, taskQueue: queues.retention(host) });
    const outcomes = await retention.removeWalKeys({ source, former: page.former });
    noteRevoked(
      state,
      outcomes.map(({ key, ...outcome }) => ({ what: key, ...outcome })),
    );
  }
  state.after = page.after;
  if (page.after === null) nextTarget(state);
}

function nextTarget(state: RekeyState): void {
  Object.assign(state, { target: state.target + 1, step: 'points', after: null });
}

function resultOf({ sources, target }: RekeyState): SourceRekeyed {
  return sources[target] as SourceRekeyed;
}

function nothingYet({ source }: RekeyTarget, revoke: boolean): SourceRekeyed {
  const none = { points: 0, added: 0, present: 0, unproven: 0 };
  const wal = { objects: 0, added: 0, present: 0, unproven: 0, inLine: 0 };
  return { source, ...none, wal, revoked: revoke ? 0 : null, kept: [], moreKept: 0, problems: [], moreProblems: 0 };
}

interface Revoked {
  what: string;
  copy: string;
  removed: string[];
  kept: { name: string; why: string }[];
}

function noteRevoked(state: RekeyState, outcomes: Revoked[]): void {
  const result = resultOf(state);
  for (const { what, copy, removed, kept } of outcomes) {
    result.revoked = (result.revoked ?? 0) + removed.length;
    note(
      state,
      'kept',
      kept.map(({ name, why }) => `${what} in ${copy}: ${name}, ${why}`),
    );
  }
}

/** Lists stay short, whatever happens: the rest is counted. A store that is away is told of once. */
function note(state: RekeyState, list: 'kept' | 'problems', lines: string[], more = 0): void {
  const result = resultOf(state);
  const all = state.sources.reduce((sum, s) => sum + s.kept.length + s.problems.length, 0);
  const room = Math.max(0, Math.min(linesMax - result[list].length, allLinesMax - all));
  const fresh = lines.filter((text) => !result[list].includes(text));
  result[list].push(...fresh.slice(0, room));
  result[list === 'kept' ? 'moreKept' : 'moreProblems'] += Math.max(0, fresh.length - room) + more;
}

function line({ source, points, added, present, wal, revoked, problems }: SourceRekeyed): string {
  const archived =
    wal.objects === 0 ? '' : `; ${wal.objects} objects of WAL, ${wal.added} keys added, ${wal.present} there already`;
  const taken = revoked === null ? '' : `, ${revoked} former keys taken away`;
  return `- ${source}: ${points} points, ${added} keys added, ${present} there already${archived}${taken}, ${problems.length} problems`;
}
