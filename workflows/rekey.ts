import { isCancellation, log, proxyActivities, setCurrentDetails } from '@temporalio/workflow';
import type { FormerKeys, RekeyActivities } from '../activities/rekey.ts';
import type { RetentionActivities } from '../activities/retention.ts';
import { queues } from '../policies/queues.ts';
import type { RekeyInput, RekeyResult, RekeyTarget, SourceRekeyed } from './contracts.ts';
import { asJobFailure, messageOf } from './failure.ts';
import { assertRekeyInput } from './inputs.ts';
import { expiring } from './options.ts';

const linesMax = 50;

/**
 * Wraps the keys of points for the present recipients, source by source, a page at a time, and takes the former ones
 * away where that was asked for. Repeating it changes nothing, and finishes what an earlier run could not.
 */
export async function rekey(input: RekeyInput): Promise<RekeyResult> {
  const { targets, copies, revoke = false, operator, reason } = assertRekeyInput(input);
  const results: SourceRekeyed[] = [];
  const show = () => setCurrentDetails(`${results.map(line).join('\n')}\n\nAsked by ${operator}: ${reason}`);
  log.info('wrapping keys anew', { operator, reason, revoke });
  try {
    for (const target of targets) {
      const result = nothingYet(target, revoke);
      results.push(result);
      try {
        await rekeySource(target, copies, result, show);
      } catch (error) {
        // What is wrong with one source keeps nobody from the others.
        if (isCancellation(error)) throw error;
        note(result, 'problems', [messageOf(error)]);
      }
      show();
    }
    return { sources: results };
  } catch (error) {
    throw asJobFailure(error);
  }
}

async function rekeySource(
  { source, points, host = 'local' }: RekeyTarget,
  copies: string[] | undefined,
  result: SourceRekeyed,
  show: () => void,
): Promise<void> {
  const { rekeyPoints } = proxyActivities<RekeyActivities>({ ...expiring, taskQueue: queues.recovery(host) });
  const what = { source, ...(points ? { points } : {}), ...(copies ? { copies } : {}) };
  for (let after: string | null = null, isFirst = true; isFirst || after !== null; isFirst = false) {
    const page: Awaited<ReturnType<typeof rekeyPoints>> = await rekeyPoints({ ...what, after });
    result.points += page.points;
    result.added += page.added;
    result.present += page.present;
    result.unproven += page.unproven;
    note(result, 'problems', page.problems, page.moreProblems);
    if (result.revoked !== null && page.former.length > 0) await takeAway(source, host, page.former, result);
    show();
    after = page.after;
  }
}

async function takeAway(source: string, host: string, former: FormerKeys[], result: SourceRekeyed): Promise<void> {
  const { removeKeys } = proxyActivities<RetentionActivities>({ ...expiring, taskQueue: queues.retention(host) });
  for (const { pointId, copy, removed, kept } of await removeKeys({ source, former })) {
    result.revoked = (result.revoked ?? 0) + removed.length;
    note(
      result,
      'kept',
      kept.map(({ name, why }) => `${pointId} in ${copy}: ${name}, ${why}`),
    );
  }
}

function nothingYet({ source }: RekeyTarget, revoke: boolean): SourceRekeyed {
  const none = { points: 0, added: 0, present: 0, unproven: 0 };
  return { source, ...none, revoked: revoke ? 0 : null, kept: [], moreKept: 0, problems: [], moreProblems: 0 };
}

/** Lists stay short, whatever happens: the rest is counted. A store that is away is told of once. */
function note(result: SourceRekeyed, list: 'kept' | 'problems', lines: string[], more = 0): void {
  const room = linesMax - result[list].length;
  const fresh = lines.filter((text) => !result[list].includes(text));
  result[list].push(...fresh.slice(0, room));
  result[list === 'kept' ? 'moreKept' : 'moreProblems'] += Math.max(0, fresh.length - room) + more;
}

function line({ source, points, added, present, revoked, problems }: SourceRekeyed): string {
  const taken = revoked === null ? '' : `, ${revoked} former keys taken away`;
  return `- ${source}: ${points} points, ${added} keys added, ${present} there already${taken}, ${problems.length} problems`;
}
