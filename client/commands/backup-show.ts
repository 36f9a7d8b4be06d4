import { chainOf } from '../../policies/chain.ts';
import { formatBytes, formatDuration } from '../../policies/progress.ts';
import type { Context } from '../context.ts';
import { unknownPoint } from '../names.ts';
import { shortTime, viewPoint } from '../point-view.ts';
import { facts, table } from '../table.ts';

export async function backupShow(context: Context, id: string): Promise<number | undefined> {
  const policy = await context.policy();
  const catalog = await context.catalog();
  const record = await catalog.point(id);
  if (!record)
    throw unknownPoint(
      id,
      (await catalog.points({ limit: 1000 })).map((p) => p.backup.id),
    );
  const point = viewPoint(record, policy);
  const jobs = await catalog.jobs({ pointId: id });
  const { backup } = record;
  const points = backup.parent === null ? [record] : await catalog.points({ source: backup.source.name });
  const found = chainOf(points, id);
  // What is needed comes after what needs it, down to the full one; a text says why it is no chain.
  const chain = typeof found === 'string' ? found : found.map((p) => ({ id: p.backup.id, level: p.backup.level }));
  context.out.result({ point, backup, chain, jobs }, () =>
    [
      facts([
        ['recovery point', point.id],
        ['source', `${point.source} (${point.kind} on ${backup.source.host})`],
        ['level', `${point.level}, class ${point.classes.join(', ')}`],
        ...(backup.parent === null ? [] : [['chain', chainInWords(chain)] satisfies [string, string]]),
        ['captured', `${shortTime(point.capturedAt)}: the moment that a restore brings back`],
        [
          'size',
          `${formatBytes(point.sourceBytes)} in ${point.entries} entries → ${formatBytes(point.storedBytes)} stored, ratio ${point.ratio}`,
        ],
        ['sealed for', backup.encryption.recipients.join('\n')],
        ['signed by', backup.signature.publicKey],
        [
          '3-2-1',
          point.rule.satisfied
            ? `kept: ${point.rule.copies} copies on ${point.rule.media.join(' and ')}, off-site in ${point.rule.offsiteRegions.join(', ')}`
            : `BREACHED: ${point.rule.breaches.join('\n')}`,
        ],
        ...point.holds.map((h): [string, string] => ['held', `by ${h.operator} since ${shortTime(h.at)}: ${h.reason}`]),
        ...Object.entries(backup.facts).map(([name, value]): [string, string] => [name, String(value)]),
      ]),
      '',
      table(
        ['copy', 'state', 'published', 'locked until', 'held', 'error'],
        point.copies.map((c) => [
          c.copy,
          c.state,
          c.publishedAt ? shortTime(c.publishedAt) : '',
          c.lockedUntil ? shortTime(c.lockedUntil) : '',
          c.held ? 'by the store' : point.holds.length > 0 ? 'by us' : '',
          c.error ?? '',
        ]),
      ),
      table(
        ['check', 'outcome', 'what was compared', 'took'],
        backup.validation.checks.map((c) => [
          c.check,
          c.passed ? '✓' : '✗',
          c.error ?? c.details,
          formatDuration(c.durationMs),
        ]),
      ),
      table(
        ['object', 'bytes', 'SHA-256'],
        backup.objects.map((o) => [o.name, String(o.bytes), o.sha256]),
      ),
      ...jobs.map(
        (j) =>
          `job ${j.workflowId}: ${j.outcome}; ${j.phases.map((p) => `${p.name} ${formatDuration(p.durationMs)}`).join(', ')}`,
      ),
    ].join('\n'),
  );
  return undefined;
}

function chainInWords(chain: string | { id: string; level: string }[]): string {
  if (typeof chain === 'string') return `BROKEN: ${chain}`;
  return chain
    .slice(1)
    .map(({ id, level }) => `needs ${id} (${level})`)
    .join('\n');
}
