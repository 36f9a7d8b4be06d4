import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import { Failure, failureTypes } from '../../policies/failure.ts';
import type { Policy } from '../../policies/policy.ts';
import { queues } from '../../policies/queues.ts';
import {
  type RekeyInput,
  type RekeyResult,
  type RekeyTarget,
  rekeyWorkflowId,
  type SourceRekeyed,
} from '../../workflows/contracts.ts';
import type { Context } from '../context.ts';
import { follow, noteMissingWorkers } from '../follow.ts';
import { copyPolicy, sourceNamed } from '../names.ts';
import { namedPerson } from '../person.ts';
import { table } from '../table.ts';

export interface RekeyOptions {
  /** `revoke`: former wrapped keys are taken away, too. */
  action: 'rotate' | 'revoke';
  /** Sources and points; none: every source of the policy. */
  names: string[];
  /** Only in these copies. */
  from?: string[];
  host?: string;
  operator?: string;
  reason?: string;
  wait: boolean;
}

/**
 * Has the keys of points wrapped for the present recipients, by the recovery worker. Ends with 6 when something could
 * not be done, and with 9 when former keys stay where they were to go.
 */
export async function rekey(context: Context, options: RekeyOptions): Promise<number | undefined> {
  const { action, from, wait } = options;
  const person = namedPerson(options, `backupctl key ${action}`);
  const policy = await context.policy();
  for (const copy of from ?? []) copyPolicy(policy, copy);
  const targets = await targetsOf(context, policy, options);
  const input: RekeyInput = { targets, ...(from ? { copies: from } : {}), revoke: action === 'revoke', ...person };
  const started = await start(context, input);
  const { out } = context;
  if (!wait) {
    out.result(started, () => `Started ${rekeyWorkflowId}. "backupctl key status" shows who opens what.`);
    return undefined;
  }
  const result = await follow<RekeyResult>(context, { started, line: async () => 'wrapping keys anew' });
  out.result({ ...started, ...result }, () => render(result, out.paint));
  if (result.sources.some((s) => s.problems.length > 0)) return failureTypes.KeyWrong.exitCode;
  if (result.sources.some((s) => s.revoked !== null && s.kept.length + s.unproven + s.wal.unproven + s.wal.inLine > 0))
    return failureTypes.RuleBreached.exitCode;
  return undefined;
}

async function start(context: Context, input: RekeyInput): Promise<{ workflowId: string; runId: string }> {
  const client = await context.temporal();
  const { operator, reason, targets } = input;
  try {
    const { firstExecutionRunId } = await client.workflow.start('rekey', {
      workflowId: rekeyWorkflowId,
      taskQueue: queues.coordination,
      args: [input],
      staticSummary: `Wrap keys for the present recipients, for ${operator}: ${reason}`.slice(0, 200),
    });
    const hosts = [...new Set(targets.map((t) => t.host ?? 'local'))];
    const queuesNeeded = hosts.flatMap((host) => [
      queues.recovery(host),
      ...(input.revoke ? [queues.retention(host)] : []),
    ]);
    await noteMissingWorkers(context, client, queuesNeeded);
    return { workflowId: rekeyWorkflowId, runId: firstExecutionRunId };
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    throw new Failure('UsageInvalid', 'Keys are being wrapped anew already, and there is one such run at a time.', {
      next: `Wait until it has ended: temporal workflow result --workflow-id ${rekeyWorkflowId}`,
    });
  }
}

/** By source; a point that is named goes by its source. */
async function targetsOf(context: Context, policy: Policy, { names, host }: RekeyOptions): Promise<RekeyTarget[]> {
  const targets = new Map<string, RekeyTarget>();
  const add = (source: string, point?: string) => {
    const where = host ?? policy.sources.find((s) => s.name === source)?.host ?? 'local';
    const known = targets.get(source) ?? { source, host: where, ...(point === undefined ? {} : { points: [] }) };
    if (point === undefined) delete known.points;
    else known.points?.push(point);
    targets.set(source, known);
  };
  for (const { name } of names.length === 0 ? policy.sources : []) add(name);
  for (const name of names) {
    if (policy.sources.some((s) => s.name === name)) {
      add(name);
      continue;
    }
    const point = await (await context.catalog()).point(name);
    if (point) add(point.backup.source.name, name);
    else sourceNamed(policy, name);
  }
  return [...targets.values()];
}

function render({ sources }: RekeyResult, paint: Context['out']['paint']): string {
  const rows = sources.map((s) => [
    s.source,
    s.wal.objects === 0 ? String(s.points) : `${s.points}\n${s.wal.objects} of WAL`,
    `${s.added + s.wal.added} added\n${s.present + s.wal.present} there already`,
    s.revoked === null
      ? 'not asked for'
      : `${s.revoked} taken away${s.kept.length > 0 ? `\n${s.kept.length + s.moreKept} stay` : ''}`,
  ]);
  const list = (lines: string[], more: number) =>
    [...lines, ...(more > 0 ? [`… and ${more} more`] : [])].map((l) => `    ${l}`);
  return [
    table(['source', 'points', 'keys, by copy', 'former keys'], rows),
    ...sources.flatMap((s) => words(s, list, paint)),
    ...(sources.some((s) => s.revoked !== null)
      ? ['Whoever had a former identity may have kept former keys, or what they open: what they could read, they have.']
      : []),
  ].join('\n');
}

function words(
  { source, problems, moreProblems, kept, moreKept, unproven, wal, revoked }: SourceRekeyed,
  list: (lines: string[], more: number) => string[],
  paint: Context['out']['paint'],
): string[] {
  return [
    ...(problems.length > 0 ? [`${paint('red', '✗')} ${source}: not done`, ...list(problems, moreProblems)] : []),
    ...(kept.length > 0
      ? [
          `${paint('yellow', '!')} ${source}: former keys that stay, so that who has a former identity can still fetch and open these`,
          ...list(kept, moreKept),
        ]
      : []),
    ...(revoked !== null && wal.inLine > 0
      ? [
          `${paint('yellow', '!')} ${source}: ${wal.inLine} objects of WAL open for former recipients, too, by the key in their signed line, which nobody can change.`,
          '    They go by themselves: WAL expires with the points that need it. "backupctl key status" counts those that are left.',
        ]
      : []),
    ...(unproven + wal.unproven > 0
      ? [
          `${paint('yellow', '!')} ${source}: ${unproven} points and ${wal.unproven} objects of WAL have former keys that are not taken away: the recovery worker has no identity of a present recipient, to show that the new key opens.`,
          '    Name such an identity in keys.identity (several stand one a line), restart the worker, and run it again.',
        ]
      : []),
  ];
}
