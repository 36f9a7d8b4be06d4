import type { Policy } from '../../policies/policy.ts';
import { promisedBy } from '../../policies/promised.ts';
import { desiredSchedules, type ScheduleChanges, scheduleChanges } from '../../policies/schedules.ts';
import { type ArchiveChanges, applyArchives, archiveChanges } from '../archives.ts';
import type { Context } from '../context.ts';
import { capabilitiesFor } from '../doctor/stores.ts';
import { impactHere, renderImpact } from '../policy-impact.ts';
import { applyChanges, readPromised, readWanted, recordPromised } from '../schedules.ts';

/**
 * Makes Temporal's schedules what the policy says, and lets WAL be archived where it says so; or only shows what would
 * change. Throws CapabilityMissing before
 * anything is changed when a store lacks what the policy promises: now, and not at five in the morning of January 1.
 */
export async function policyApply(context: Context, { dryRun }: { dryRun: boolean }): Promise<number | undefined> {
  const policy = await context.policy();
  if (!dryRun) await assertStoresCan(context, policy);
  const client = await context.temporal();
  const wanted = desiredSchedules(policy);
  const changes = scheduleChanges(wanted, await readWanted(client, wanted));
  const archives = await archiveChanges(client, policy);
  if (!dryRun) {
    await applyChanges(client, changes);
    await applyArchives(client, archives);
    if (wanted.length > 0) await recordPromised(client, promisedBy(policy));
    context.out.result({ applied: true, ...changes, archives }, () =>
      render(changes, archives, dryRun, context.out.paint),
    );
    return undefined;
  }
  const impact = await impactHere(context, policy, await readPromised(client));
  context.out.result({ applied: false, ...changes, archives, impact }, () =>
    [
      render(changes, archives, dryRun, context.out.paint),
      ...(impact ? renderImpact(impact, context.out.paint) : []),
    ].join('\n'),
  );
  return undefined;
}

async function assertStoresCan(context: Context, policy: Policy): Promise<void> {
  for (const copy of policy.copies) {
    if (copy.kind === 's3' && copy.lock) await capabilitiesFor(copy, await context.store(copy.name));
  }
}

function render(
  { create, update, remove, same }: ScheduleChanges,
  archives: ArchiveChanges,
  dryRun: boolean,
  paint: Paint,
): string {
  const lines = [
    ...create.map(({ id }) => `${paint('green', '+')} ${id}`),
    ...update.flatMap(({ id, differences }) => [
      `${paint('yellow', '~')} ${id}`,
      ...differences.map((d) => `    ${d}`),
    ]),
    ...remove.map(({ id }) => `${paint('red', '-')} ${id}`),
    ...archives.start.map((source) => `${paint('green', '+')} archiving the WAL of ${source}`),
    ...archives.end.map((source) => `${paint('red', '-')} archiving the WAL of ${source}; its replication slot goes`),
  ];
  if (lines.length === 0) {
    const wal = archives.same.length === 0 ? '' : `; the WAL of ${archives.same.join(', ')} is being archived`;
    return `${paint('green', '✓')} The schedules are what the policy says (${same.length})${wal}.`;
  }
  return [
    ...lines,
    dryRun
      ? 'Nothing was changed. "backupctl policy apply" does it.'
      : `${paint('green', '✓')} Applied: ${create.length} made, ${update.length} changed, ${remove.length} removed, ${same.length} as they were.`,
  ].join('\n');
}

type Paint = Context['out']['paint'];
