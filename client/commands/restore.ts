import path from 'node:path';
import { Failure, isFailure } from '../../policies/failure.ts';
import { parseMoment } from '../../policies/moment.ts';
import type { SourcePolicy } from '../../policies/policy.ts';
import { formatBytes, formatDuration } from '../../policies/progress.ts';
import { queues } from '../../policies/queues.ts';
import type { RestoreInput, RestoreResult } from '../../workflows/contracts.ts';
import type { Context } from '../context.ts';
import { follow, noteMissingWorkers } from '../follow.ts';
import { copyPolicy, sourceNamed, unknownPoint } from '../names.ts';
import { namedPerson } from '../person.ts';
import { facts } from '../table.ts';
import { startWorkflow } from '../temporal.ts';

export interface RestoreOptions {
  source: string;
  point?: string;
  from?: string;
  path?: string[];
  /** OLD=NEW */
  tablespace?: string[];
  to?: string;
  timeline?: number;
  into?: string;
  host?: string;
  operator?: string;
  reason?: string;
  wait: boolean;
}

/** Asks a recovery worker to restore. Everything that can be refused here is, before anything is started. */
export async function restore(context: Context, options: RestoreOptions): Promise<number | undefined> {
  const person = namedPerson(options, `backupctl restore ${options.source} --into TARGET`);
  const policy = await context.policy();
  const source = sourceNamed(policy, options.source);
  if (options.from !== undefined) copyPolicy(policy, options.from);
  const into = targetOf(source, options, context.cwd);
  const tablespaces = tablespacesOf(source, options);
  const moment = momentOf(source, options);
  await assertPoint(context, options);
  const input: RestoreInput = {
    source: source.name,
    into,
    ...person,
    ...(options.point === undefined ? {} : { pointId: options.point }),
    ...(options.from === undefined ? {} : { from: options.from }),
    ...(options.path === undefined ? {} : { paths: options.path }),
    ...(tablespaces === undefined ? {} : { tablespaces }),
    ...moment,
    ...(options.host === undefined ? {} : { host: options.host }),
  };
  const client = await context.temporal();
  const started = await startWorkflow(client, {
    type: 'restore',
    source: source.name,
    input,
    summary: `Restore ${source.name} for ${person.operator}: ${person.reason}`.slice(0, 200),
  });
  await noteMissingWorkers(context, client, [queues.recovery(options.host ?? 'local')]);
  const { out } = context;
  if (!options.wait) {
    out.result(started, () => `Started ${started.workflowId}. "backupctl status" shows whether it still runs.`);
    return undefined;
  }
  const result = await follow<RestoreResult>(context, { started, line: async () => `restoring ${source.name}` });
  out.result({ ...started, ...result }, () =>
    [
      `${out.paint('green', '✓')} Restored ${source.name}.`,
      facts([
        ['recovery point', result.pointId],
        ['from', result.from],
        ['restored', `${formatBytes(result.bytes)} in ${result.entries} entries`],
        ...recoveredFacts(result),
        ['took', formatDuration(result.durationMs)],
      ]),
      ...result.warnings.map((w) => `${out.paint('yellow', '!')} ${w}`),
    ].join('\n'),
  );
  return undefined;
}

/** Where to restore to, as it may stand in a workflow's history: without a password. Throws UsageInvalid. */
export function targetOf(
  source: Pick<SourcePolicy, 'name' | 'kind'>,
  { into, path: globs }: Pick<RestoreOptions, 'into' | 'path'>,
  cwd: string,
): RestoreInput['into'] {
  if (into === undefined)
    throw usage(
      'It is not said where to restore to.',
      'Add --into DIRECTORY or --into postgresql://USER@HOST:PORT/DATABASE.',
    );
  const isUri = /^postgres(ql)?:\/\//.test(into);
  if (isUri !== (source.kind === 'postgres-logical')) {
    throw usage(
      `${source.name} is a ${source.kind} source, and cannot be restored into ${isUri ? 'a database' : 'a directory'}.`,
      isUri ? 'Add --into DIRECTORY.' : 'Add --into postgresql://USER@HOST:PORT/DATABASE, an existing empty database.',
    );
  }
  if (!isUri) {
    if (globs !== undefined && source.kind !== 'files') {
      throw usage('--path is for files.', 'Leave it out: a cluster is restored whole.');
    }
    return { directory: path.resolve(cwd, into) };
  }
  if (globs !== undefined) throw usage('--path is for files.', 'Leave it out: a database is restored whole.');
  if (!URL.canParse(into))
    throw usage('The database URI cannot be read.', 'Write it as postgresql://USER@HOST:PORT/DATABASE.');
  const uri = new URL(into);
  if (uri.password !== '' || uri.searchParams.has('password')) {
    throw usage(
      'The database URI carries a password, which would be kept in the history of the workflow.',
      'Leave it out, and name the server with its password under restoreTargets in the policy file.',
    );
  }
  return { databaseUri: into };
}

/** Where tablespaces go, by where they lay. Throws UsageInvalid. */
export function tablespacesOf(
  source: Pick<SourcePolicy, 'name' | 'kind'>,
  { tablespace }: Pick<RestoreOptions, 'tablespace'>,
): Record<string, string> | undefined {
  if (tablespace === undefined) return undefined;
  if (source.kind !== 'postgres-physical') {
    throw usage(`--tablespace is for clusters, and ${source.name} is a ${source.kind} source.`, 'Leave it out.');
  }
  const pairs = tablespace.map((text) => {
    const [, from, to] = /^(\/.*?)=(\/.*)$/.exec(text) ?? [];
    if (from !== undefined && to !== undefined) return [from, to] as const;
    throw usage(`"${text}" says not where a tablespace goes.`, 'Write --tablespace /OLD/PATH=/NEW/PATH.');
  });
  return Object.fromEntries(pairs);
}

/** The moment to come back to, and the timeline to follow. Throws UsageInvalid. */
export function momentOf(
  source: Pick<SourcePolicy, 'name' | 'kind'>,
  { to, timeline, point }: Pick<RestoreOptions, 'to' | 'timeline' | 'point'>,
): Pick<RestoreInput, 'to' | 'timeline'> {
  if (to === undefined) {
    if (timeline === undefined) return {};
    throw usage('--timeline goes with --to.', 'Add --to MOMENT: a time, a position, xid:NUMBER, name:TEXT or latest.');
  }
  if (source.kind !== 'postgres-physical') {
    throw usage(
      `--to is for clusters, and ${source.name} is a ${source.kind} source: it has the moments of its points only.`,
      'Choose the point with --point ("backupctl backup list" shows them).',
    );
  }
  if (point !== undefined) {
    throw usage('--to chooses the point to begin with by itself.', 'Leave --point out, or --to.');
  }
  return { to: parseMoment(to), ...(timeline === undefined ? {} : { timeline }) };
}

function recoveredFacts({ recovered }: RestoreResult): [string, string][] {
  if (!recovered) return [];
  const { lsn, timeline, lastTransactionAt } = recovered;
  return [
    ['recovered to', `${lsn}, from where timeline ${timeline} goes on`],
    ['last transaction', lastTransactionAt ?? 'none after the point'],
  ];
}

/** Catches a mistyped id here. Without the catalog the recovery worker decides. */
async function assertPoint(context: Context, { point, source }: RestoreOptions): Promise<void> {
  if (point === undefined) return;
  try {
    const catalog = await context.catalog();
    const found = await catalog.point(point);
    if (found?.backup.source.name === source) return;
    throw unknownPoint(
      point,
      (await catalog.points({ source, limit: 1000 })).map((p) => p.backup.id),
    );
  } catch (error) {
    if (!isFailure(error, 'CatalogUnreachable', 'SecretMissing')) throw error;
    context.out.note(`! ${error.message}`);
  }
}

function usage(message: string, next: string): Failure {
  return new Failure('UsageInvalid', message, { next });
}
