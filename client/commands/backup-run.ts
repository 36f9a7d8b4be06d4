import { failureTypes } from '../../policies/failure.ts';
import { formatBytes, formatDuration } from '../../policies/progress.ts';
import { queues } from '../../policies/queues.ts';
import { type Level, level as levels } from '../../policies/recovery-point.ts';
import type { BackupInput, BackupResult, BackupStatus } from '../../workflows/contracts.ts';
import type { Context } from '../context.ts';
import { follow, noteMissingWorkers } from '../follow.ts';
import { sourceNamed } from '../names.ts';
import { jobLine } from '../progress.ts';
import { facts } from '../table.ts';
import { startWorkflow } from '../temporal.ts';

export interface RunBackupOptions {
  source: string;
  level: string;
  anytime: boolean;
  wait: boolean;
}

/** Starts a backup. With --wait it ends as the job does: 9 when the point stands, but not as promised. */
export async function backupRun(context: Context, options: RunBackupOptions): Promise<number | undefined> {
  const policy = await context.policy();
  const { host } = sourceNamed(policy, options.source);
  const level: Level = levels.parse(options.level);
  const client = await context.temporal();
  const input: BackupInput = { source: options.source, level, ...(options.anytime ? { anytime: true } : {}) };
  const started = await startWorkflow(client, {
    type: 'backup',
    source: options.source,
    input,
    summary: `Back up ${options.source} (${level})`,
  });
  await noteMissingWorkers(context, client, [
    queues.backup(host),
    queues.validation(host),
    queues.transfer(host),
    queues.retention(host),
  ]);
  const { out } = context;
  if (!options.wait) {
    out.result(started, () => `Started ${started.workflowId}. "backupctl status" shows how it gets on.`);
    return undefined;
  }
  const result = await follow<BackupResult>(context, {
    started,
    line: async (handle) => jobLine(await handle.query<BackupStatus>('status')),
  });
  out.result({ ...started, ...result }, () => renderResult(result, out.paint));
  return result.outcome === 'partial' ? failureTypes.RuleBreached.exitCode : undefined;
}

export function renderResult(result: BackupResult, paint: Context['out']['paint']): string {
  const whole = result.outcome === 'succeeded';
  const total = result.phases.reduce((sum, p) => sum + p.durationMs, 0);
  return [
    whole
      ? `${paint('green', '✓')} Backed up ${result.source}.`
      : `${paint('yellow', '!')} ${result.source} is backed up, but not as promised.`,
    facts([
      ['recovery point', result.pointId],
      ['size', `${formatBytes(result.sourceBytes)} → ${formatBytes(result.storedBytes)} stored`],
      ['validated', `${result.checksPassed} checks passed`],
      [
        'copies',
        result.copies
          .map((c) => (c.state === 'verified' ? `✓ ${c.copy}` : `✗ ${c.copy}: ${c.error ?? 'failed'}`))
          .join('\n'),
      ],
      ['3-2-1', result.rule.satisfied ? 'kept' : `BREACHED: ${result.rule.breaches.join('; ')}`],
      [
        'took',
        `${formatDuration(total)}: ${result.phases.map((p) => `${p.name} ${formatDuration(p.durationMs)}`).join(', ')}`,
      ],
    ]),
    ...result.warnings.map((w) => `${paint('yellow', '!')} ${w}`),
    ...(whole ? [] : ['Mend what is named, then run the backup again.']),
  ].join('\n');
}
