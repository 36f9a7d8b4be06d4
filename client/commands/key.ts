import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import { Failure, failureTypes, isFailure } from '../../policies/failure.ts';
import type { Policy } from '../../policies/policy.ts';
import { queues } from '../../policies/queues.ts';
import { keyName, pointPrefix } from '../../policies/recovery-point.ts';
import { type KeyCoverage, keyCoverage, type PointKeys } from '../../policies/rekey.ts';
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
  const archived = targets.filter((t) =>
    policy.sources.some((s) => s.name === t.source && s.kind === 'postgres-physical'),
  );
  if (archived.length > 0) context.out.note(walStays(archived.map((t) => t.source)));
  const started = await start(context, input);
  const { out } = context;
  if (!wait) {
    out.result(started, () => `Started ${rekeyWorkflowId}. "backupctl key status" shows who opens what.`);
    return undefined;
  }
  const result = await follow<RekeyResult>(context, { started, line: async () => 'wrapping keys anew' });
  out.result({ ...started, ...result }, () => render(result, out.paint));
  if (result.sources.some((s) => s.problems.length > 0)) return failureTypes.KeyWrong.exitCode;
  if (result.sources.some((s) => s.revoked !== null && s.kept.length + s.unproven > 0))
    return failureTypes.RuleBreached.exitCode;
  return undefined;
}

/** What is archived of a cluster's WAL carries its key in its signed first line, which nobody can change. */
function walStays(sources: string[]): string {
  return `! The WAL of ${sources.join(', ')} that is archived already stays sealed for whom it was sealed for. Keep their identities, beside the new one in keys.identity, one a line, for as long as a moment between points may be asked for.`;
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
    String(s.points),
    `${s.added} added\n${s.present} there already`,
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
  { source, problems, moreProblems, kept, moreKept, unproven }: SourceRekeyed,
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
    ...(unproven > 0
      ? [
          `${paint('yellow', '!')} ${source}: ${unproven} points have former keys that are not taken away: the recovery worker has no identity of a present recipient, to show that the new key opens.`,
          '    Name such an identity in keys.identity (several stand one a line), restart the worker, and run it again.',
        ]
      : []),
  ];
}

interface StatusRow extends KeyCoverage {
  source: string;
  copy: string;
  /** What lies there but does not count. */
  problems: string[];
}

/** Who opens how many points, by source and copy, by what the wrapped keys say; nothing is opened for it. */
export async function keyStatus(
  context: Context,
  options: { sources: string[]; copy?: string },
): Promise<number | undefined> {
  const policy = await context.policy();
  const { recipients } = policy.keys;
  const sources = options.sources.length > 0 ? options.sources.map((s) => sourceNamed(policy, s)) : policy.sources;
  const copies = options.copy === undefined ? policy.copies : [copyPolicy(policy, options.copy)];
  const rows: StatusRow[] = [];
  const unread: { copy: string; error: string }[] = [];
  for (const { name: copy } of copies) {
    try {
      for (const { name } of sources) rows.push(await statusOf(context, policy, name, copy));
    } catch (error) {
      if (!isFailure(error)) throw error;
      unread.push({ copy, error: error.message });
    }
  }
  const { out } = context;
  out.result({ recipients, status: rows, unread }, () =>
    [
      table(
        ['source', 'copy', 'points', 'opened by', 'lacking', 'former'],
        rows.map((r) => [
          r.source,
          r.copy,
          String(r.points),
          r.opens.map((o) => `${short(o.recipient)}${o.present ? '' : ' (former)'}: ${o.points}`).join('\n'),
          r.lacking.length === 0 ? out.paint('green', 'none') : out.paint('red', String(r.lacking.length)),
          r.former.length === 0 ? out.paint('green', 'none') : out.paint('yellow', String(r.former.length)),
        ]),
      ),
      ...unread.map((u) => `${out.paint('red', '✗')} ${u.copy}: ${u.error}`),
      ...(rows.some((r) => r.lacking.length > 0)
        ? ['Lacking: points that a present recipient does not open. "backupctl key rotate" wraps their keys anew.']
        : []),
      ...(rows.some((r) => r.former.length > 0)
        ? [
            'Former: points that somebody opens who is no recipient any more. "backupctl key revoke" takes those keys away.',
          ]
        : []),
    ].join('\n'),
  );
  return unread.length > 0 ? failureTypes.StoreUnreachable.exitCode : undefined;
}

async function statusOf(context: Context, policy: Policy, source: string, copy: string): Promise<StatusRow> {
  const { publishedIn } = await import('../../engine/catalog/index.ts');
  const { readWrappedKey } = await import('../../engine/artifact/index.ts');
  const store = await context.store(copy);
  const { trusted, recipients } = policy.keys;
  const problems: string[] = [];
  const points: PointKeys[] = [];
  const onProblem = (problem: string) => problems.push(problem);
  await store.check();
  for await (const { backup, keys } of publishedIn({ store, trusted, below: `${source}/`, onProblem })) {
    const prefix = pointPrefix(source, backup.id);
    const found = new Set<string>(keys.includes(keyName) ? backup.encryption.recipients : []);
    for (const name of keys.filter((k) => k !== keyName)) {
      for (const recipient of (await readWrappedKey({ store, prefix, backup }, name)).recipients) found.add(recipient);
    }
    points.push({ pointId: backup.id, recipients: [...found] });
  }
  return { source, copy, ...keyCoverage(points, recipients), problems };
}

/** Enough to tell recipients apart. */
function short(recipient: string): string {
  return recipient.length <= 20 ? recipient : `${recipient.slice(0, 12)}…${recipient.slice(-6)}`;
}
