import { failureTypes } from '../../policies/failure.ts';
import { queues } from '../../policies/queues.ts';
import { partName } from '../../policies/repair.ts';
import type { RepairInput, RepairOutcome, RepairResult } from '../../workflows/contracts.ts';
import type { Context } from '../context.ts';
import { follow, noteMissingWorkers } from '../follow.ts';
import { copyPolicy, sourceNamed, unknownPoint } from '../names.ts';
import { startWorkflow } from '../temporal.ts';

export interface RepairOptions {
  copy?: string;
  wait: boolean;
}

/** Mends a point. With --wait it ends as the job does: 9 when something could not be mended. */
export async function backupRepair(
  context: Context,
  { id, ...options }: RepairOptions & { id: string },
): Promise<number | undefined> {
  const catalog = await context.catalog();
  const point = await catalog.point(id);
  if (!point)
    throw unknownPoint(
      id,
      (await catalog.points({ limit: 1000 })).map((p) => p.backup.id),
    );
  const { name, host } = point.backup.source;
  const at = (await context.policy()).sources.find((s) => s.name === name)?.host ?? host;
  return repair(context, { source: name, host: at, what: id, input: { pointId: id } }, options);
}

/** Mends the WAL of a source; ends as backupRepair does. */
export async function walRepair(
  context: Context,
  { source, ...options }: RepairOptions & { source: string },
): Promise<number | undefined> {
  const { name, host } = sourceNamed(await context.policy(), source);
  return repair(context, { source: name, host, what: `the WAL of ${name}`, input: { walOf: name } }, options);
}

async function repair(
  context: Context,
  { source, host, what, input }: { source: string; host: string; what: string; input: RepairInput },
  { copy, wait }: RepairOptions,
): Promise<number | undefined> {
  if (copy !== undefined) copyPolicy(await context.policy(), copy);
  const client = await context.temporal();
  const started = await startWorkflow(client, {
    type: 'repair',
    source,
    input: { ...input, ...(copy === undefined ? {} : { copy }) } satisfies RepairInput,
    summary: `Repair ${what}${copy === undefined ? '' : ` in ${copy}`}`,
  });
  await noteMissingWorkers(context, client, [queues.transfer(host), queues.retention(host)]);
  const { out } = context;
  if (!wait) {
    out.result(started, () => `Started ${started.workflowId}. "backupctl status" shows how it gets on.`);
    return undefined;
  }
  const result = await follow<RepairResult>(context, { started, line: async () => `repairing ${what}` });
  out.result({ ...started, ...result }, () => result.outcomes.map((o) => render(o, out.paint)).join('\n'));
  return result.outcomes.some((o) => o.problems.length > 0) ? failureTypes.RuleBreached.exitCode : undefined;
}

function render(
  { part, copy, state, objects, repaired, keys, problems }: RepairOutcome,
  paint: Context['out']['paint'],
): string {
  const words = {
    whole: `whole, ${objects} objects read`,
    repaired: `${repaired} put again`,
    damaged: `not whole${repaired > 0 ? `, though ${repaired} put again` : ''}`,
    unknown: 'could not be read',
  }[state];
  const mark = problems.length > 0 ? paint('red', '✗') : paint('green', '✓');
  return [`${mark} ${partName(part)} in ${copy}: ${words}`, ...[...keys, ...problems].map((l) => `    ${l}`)].join(
    '\n',
  );
}
