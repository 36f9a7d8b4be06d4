import Table from 'cli-table3';
import { type JobRecord, openCatalog, type PointRecord } from '../engine/catalog/index.ts';
import { resolveSecret } from '../engine/config/index.ts';
import type { Policy } from '../policies/policy.ts';
import { formatBytes, formatDuration } from '../policies/progress.ts';
import { judgePolicy } from '../policies/three-two-one.ts';

/** The newest point of each source: copies, sizes, ratio, the time of each phase, and the 3-2-1 verdict with its reasons. */
export async function pointsTable(policy: Policy): Promise<string> {
  const catalog = await openCatalog({ dsn: await resolveSecret(policy.catalog.dsn) });
  try {
    const table = new Table({
      head: ['recovery point', 'size', 'copies', 'phases', '3-2-1'],
      style: { head: [], border: [] },
    });
    for (const source of policy.sources) {
      const [point] = await catalog.points({ source: source.name, limit: 1 });
      if (!point) continue;
      const [job] = await catalog.jobs({ pointId: point.backup.id, limit: 1 });
      table.push(row(policy, point, job?.phases ?? []));
    }
    return table.toString();
  } finally {
    await catalog.close();
  }
}

function row(policy: Policy, { backup, copies, storedBytes }: PointRecord, phases: JobRecord['phases']): string[] {
  const { sourceBytes, entries } = backup.content;
  const passed = backup.validation.checks.filter((c) => c.passed).length;
  const isVerified = (name: string) => copies.some((c) => c.copy === name && c.state === 'verified');
  const verdict = judgePolicy(policy, isVerified);
  const kept = `kept: ${verdict.copies} copies,\n${verdict.media.join(' + ')},\noff-site ${verdict.offsiteRegions.join(', ')},\nAES-256`;
  return [
    `${backup.id}\n${backup.level}, ${entries} entries\n${passed} of ${backup.validation.checks.length} checks passed`,
    `${formatBytes(sourceBytes)} →\n${formatBytes(storedBytes)}\nratio ${(sourceBytes / Math.max(1, storedBytes)).toFixed(2)}`,
    policy.copies.map(({ name }) => `${isVerified(name) ? '✓' : '✗'} ${name}`).join('\n'),
    phases.map((p) => `${p.name} ${formatDuration(p.durationMs)}`).join('\n'),
    verdict.satisfied ? kept : `BREACHED:\n${verdict.breaches.join('\n')}`,
  ];
}
