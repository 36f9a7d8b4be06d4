import { durationSeconds } from './duration.ts';
import { Failure } from './failure.ts';
import { error, type Finding, warning } from './finding.ts';
import { sourcePolicy } from './plan.ts';
import type { Policy, PostgresPhysicalSource } from './policy.ts';
import type { WalPolicy } from './wal-policy.ts';

/** The workflow that archives a source's WAL; there is one for each. */
export const walArchiveId = (source: string): string => `wal/${source}`;

const slotPrefix = 'backup_';
/** As PostgreSQL limits the names of slots. */
const slotNameMax = 63;

/** The replication slot of a source: its own, so that nobody else lets the server forget. */
export function walSlot(source: string): string {
  return slotPrefix + source.replaceAll('-', '_');
}

/** The sources whose WAL is archived; those of one host when it is named. */
export function walSources({ sources }: Pick<Policy, 'sources'>, host?: string) {
  return sources.flatMap((s) =>
    s.kind === 'postgres-physical' && s.wal && (host === undefined || s.host === host) ? [{ ...s, wal: s.wal }] : [],
  );
}

/** A cluster of the policy. Throws SourceUnknown, UsageInvalid. */
export function clusterSource(policy: Policy, name: string): PostgresPhysicalSource {
  const source = sourcePolicy(policy, name);
  if (source.kind === 'postgres-physical') return source;
  throw new Failure('UsageInvalid', `${name} is a ${source.kind} source, which has no WAL of its own.`, {
    next: 'Name a source of kind postgres-physical.',
  });
}

/** A cluster whose WAL is archived. Throws SourceUnknown, UsageInvalid. */
export function archivedSource(policy: Policy, name: string): PostgresPhysicalSource & { wal: WalPolicy } {
  const source = clusterSource(policy, name);
  if (source.wal) return { ...source, wal: source.wal };
  throw new Failure('UsageInvalid', `The policy does not say that the WAL of ${name} is archived.`, {
    next: `Add "wal: {}" to the source ${name}, restart the workers, then run: backupctl policy apply`,
  });
}

/** Promises about WAL that cannot be kept. */
export function checkWal({ sources }: Policy): Finding[] {
  return sources.flatMap((source, i) => {
    if (source.kind !== 'postgres-physical' || !source.wal) return [];
    const findings: Finding[] = [];
    if (walSlot(source.name).length > slotNameMax) {
      const text = `too long for the name of a replication slot: at most ${slotNameMax - slotPrefix.length} letters where WAL is archived`;
      findings.push(error(['sources', i, 'name'], text));
    }
    if (durationSeconds(source.wal.every) > durationSeconds(source.rpo)) {
      const text = `${source.wal.every} is longer than the ${source.rpo} of data that "${source.name}" may lose`;
      findings.push(warning(['sources', i, 'wal', 'every'], text));
    }
    return findings;
  });
}
