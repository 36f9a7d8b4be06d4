import { formatBytes } from '../../policies/progress.ts';
import type { Context } from '../context.ts';
import { sourceNamed } from '../names.ts';
import { copiesCell, shortTime, viewPoint } from '../point-view.ts';
import { table } from '../table.ts';

export interface ListOptions {
  source: string | undefined;
  limit: number;
}

export async function backupList(context: Context, { source, limit }: ListOptions): Promise<number | undefined> {
  const policy = await context.policy();
  const catalog = await context.catalog();
  const found = await catalog.points({ limit, ...(source === undefined ? {} : { source }) });
  // Points outlive their source's place in the policy: the name is wrong only where neither knows it.
  if (source !== undefined && found.length === 0) sourceNamed(policy, source);
  const points = found.map((p) => viewPoint(p, policy));
  context.out.result({ points }, () => {
    if (points.length === 0)
      return 'There are no recovery points yet. Make one with: backupctl backup run SOURCE --wait';
    return table(
      ['recovery point', 'captured', 'level', 'size → stored', 'copies', '3-2-1'],
      points.map((p) => [
        p.id,
        shortTime(p.capturedAt),
        p.level,
        `${formatBytes(p.sourceBytes)} → ${formatBytes(p.storedBytes)}`,
        copiesCell(p.copies),
        p.rule.satisfied ? 'kept' : `BREACHED:\n${p.rule.breaches.join('\n')}`,
      ]),
    );
  });
  return undefined;
}
