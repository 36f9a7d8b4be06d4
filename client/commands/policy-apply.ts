import { desiredSchedules, type ScheduleChanges, scheduleChanges } from '../../policies/schedules.ts';
import type { Context } from '../context.ts';
import { applyChanges, readWanted } from '../schedules.ts';

/** Makes Temporal's schedules what the policy says; or only shows what would change. */
export async function policyApply(context: Context, { dryRun }: { dryRun: boolean }): Promise<number | undefined> {
  const policy = await context.policy();
  const client = await context.temporal();
  const wanted = desiredSchedules(policy);
  const changes = scheduleChanges(wanted, await readWanted(client, wanted));
  if (!dryRun) await applyChanges(client, changes);
  context.out.result({ applied: !dryRun, ...changes }, () => render(changes, dryRun, context.out.paint));
  return undefined;
}

function render({ create, update, remove, same }: ScheduleChanges, dryRun: boolean, paint: Paint): string {
  const lines = [
    ...create.map(({ id }) => `${paint('green', '+')} ${id}`),
    ...update.flatMap(({ id, differences }) => [
      `${paint('yellow', '~')} ${id}`,
      ...differences.map((d) => `    ${d}`),
    ]),
    ...remove.map(({ id }) => `${paint('red', '-')} ${id}`),
  ];
  if (lines.length === 0) return `${paint('green', '✓')} The schedules are what the policy says (${same.length}).`;
  return [
    ...lines,
    dryRun
      ? 'Nothing was changed. "backupctl policy apply" does it.'
      : `${paint('green', '✓')} Applied: ${create.length} made, ${update.length} changed, ${remove.length} removed, ${same.length} as they were.`,
  ].join('\n');
}

type Paint = Context['out']['paint'];
