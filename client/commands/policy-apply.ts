import type { Policy } from '../../policies/policy.ts';
import { desiredSchedules, type ScheduleChanges, scheduleChanges } from '../../policies/schedules.ts';
import type { Context } from '../context.ts';
import { capabilitiesFor } from '../doctor/stores.ts';
import { applyChanges, readWanted } from '../schedules.ts';

/**
 * Makes Temporal's schedules what the policy says; or only shows what would change. Throws CapabilityMissing before
 * anything is changed when a store lacks what the policy promises: now, and not at five in the morning of January 1.
 */
export async function policyApply(context: Context, { dryRun }: { dryRun: boolean }): Promise<number | undefined> {
  const policy = await context.policy();
  if (!dryRun) await assertStoresCan(context, policy);
  const client = await context.temporal();
  const wanted = desiredSchedules(policy);
  const changes = scheduleChanges(wanted, await readWanted(client, wanted));
  if (!dryRun) await applyChanges(client, changes);
  context.out.result({ applied: !dryRun, ...changes }, () => render(changes, dryRun, context.out.paint));
  return undefined;
}

async function assertStoresCan(context: Context, policy: Policy): Promise<void> {
  for (const copy of policy.copies) {
    if (copy.kind === 's3' && copy.lock) await capabilitiesFor(copy, await context.store(copy.name));
  }
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
