import { type FailureType, isFailure } from '../../policies/failure.ts';
import { formatBytes, formatDuration } from '../../policies/progress.ts';
import { lsnText } from '../../policies/wal.ts';
import { clusterSource } from '../../policies/wal-sources.ts';
import type { WalArchiveStatus, WalBeat } from '../../workflows/contracts.ts';
import { archiveState } from '../archives.ts';
import type { Context } from '../context.ts';
import { sourceNamed } from '../names.ts';
import { facts, table } from '../table.ts';

/** How far a copy has the WAL, by the names of what lies there. */
interface CopyReach {
  copy: string;
  /** Null when there is none. */
  archived: { timeline: number; lsn: string; until: string } | null;
  error: { type: FailureType; message: string; next: string } | null;
}

interface WalStatus {
  source: string;
  /** `off`: the policy does not ask for it. */
  archiving: WalArchiveStatus['streaming'] | 'off' | 'stopped' | 'unknown';
  error: string | null;
  /** What the server keeps for us, in bytes. */
  slotBytes: number | null;
  received: WalBeat['received'] | null;
  shipped: WalBeat['shipped'] | null;
  /** Null where no canary is asked for, or nothing is known of it yet. */
  canary: WalBeat['canary'] | null;
  copies: CopyReach[];
}

/** How far the WAL of a source is archived, in each copy, and how it gets on. */
export async function walStatus(context: Context, { source }: { source: string }): Promise<number | undefined> {
  const policy = await context.policy();
  const cluster = clusterSource(policy, sourceNamed(policy, source).name);
  const { isRunning, status, beat } = await archiveState(await context.temporal(), cluster.name);
  const copies: CopyReach[] = [];
  for (const { name } of policy.copies) copies.push(await reachOf(context, cluster.name, name));
  const archiving = isRunning ? (status?.streaming ?? 'unknown') : cluster.wal ? 'stopped' : 'off';
  const found: WalStatus = {
    source: cluster.name,
    archiving,
    error: status?.error ?? null,
    slotBytes: beat.keptBytes ?? null,
    received: beat.received ?? null,
    shipped: beat.shipped ?? null,
    canary: beat.canary ?? null,
    copies,
  };
  context.out.result(found, () => render(found, status?.copies ?? [], context.out.paint));
  return undefined;
}

async function reachOf(context: Context, source: string, copy: string): Promise<CopyReach> {
  const { leastOf, listWal } = await import('../../engine/sources/wal/index.ts');
  try {
    const { keys } = await context.policy();
    const contents = await listWal({ store: await context.store(copy), source, trusted: keys.trusted });
    const end = leastOf([contents]);
    const archived = end && { timeline: end.timeline, lsn: lsnText(end.end), until: end.until };
    return { copy, archived, error: null };
  } catch (error) {
    if (!isFailure(error)) throw error;
    return { copy, archived: null, error: { type: error.type, message: error.message, next: error.next } };
  }
}

function canaryWords({ newest, lagMs, worstLagMs, error }: NonNullable<WalBeat['canary']>): string {
  const words =
    newest === null
      ? 'no canary can be restored yet'
      : `the canary of ${newest.at} can be restored, ${formatDuration(lagMs ?? 0)} after it was written; ` +
        `the slowest of the last ones took ${formatDuration(worstLagMs ?? 0)}`;
  return error === null ? words : `${words}\nno row is written now: ${error}`;
}

function render(s: WalStatus, failing: { copy: string; error: string }[], paint: Context['out']['paint']): string {
  const ago = (iso: string) => `${iso} (${formatDuration(Math.max(0, Date.now() - Date.parse(iso)))} ago)`;
  const states: Record<WalStatus['archiving'], string> = {
    well: `${paint('green', '✓')} is archived`,
    behind: `${paint('yellow', '!')} is archived onto the staging disk; copies are behind`,
    failing: `${paint('red', '✗')} is not archived${s.error === null ? ' yet' : `: ${s.error}`}`,
    unknown: `${paint('yellow', '!')} is to be archived; no worker says how it is`,
    stopped: `${paint('red', '✗')} is not archived: start it with "backupctl policy apply"`,
    off: 'is not archived; the policy does not ask for it ("wal: {}" in the source does)',
  };
  return [
    `${paint('bold', s.source)} ${states[s.archiving]}`,
    facts([
      [
        'received',
        s.received ? `${s.received.lsn} of timeline ${s.received.timeline}, until ${ago(s.received.until)}` : 'unknown',
      ],
      [
        'in all copies',
        s.shipped ? `${s.shipped.lsn} of timeline ${s.shipped.timeline}, until ${ago(s.shipped.until)}` : 'unknown',
      ],
      ['last upload', s.shipped ? ago(s.shipped.at) : 'unknown'],
      ...(s.canary ? [['measured RPO', canaryWords(s.canary)] as [string, string]] : []),
      ['kept by the server', s.slotBytes === null ? 'unknown' : formatBytes(s.slotBytes)],
    ]),
    table(
      ['copy', 'archived up to', 'until', ''],
      s.copies.map(({ copy, archived, error }) => [
        copy,
        archived ? `${archived.lsn} (timeline ${archived.timeline})` : 'nothing',
        archived ? ago(archived.until) : '',
        error?.message ?? failing.find((f) => f.copy === copy)?.error ?? '',
      ]),
    ),
  ].join('\n');
}
