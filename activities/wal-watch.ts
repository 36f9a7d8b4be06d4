import { basePointOf } from '../engine/sources/wal/index.ts';
import type { Policy } from '../policies/policy.ts';
import { lsnOf } from '../policies/wal.ts';
import { archivedSource } from '../policies/wal-sources.ts';
import { runActivity } from './failure.ts';
import { type IncidentDependencies, resolveIncident, tellIncident } from './incidents.ts';
import type { CopyGap } from './wal-transfer.ts';

/** How something about a source's WAL stands. */
export interface WalFinding {
  about: 'archiving' | 'slot' | 'copies' | 'gap';
  /** What is wrong; null when it is well. */
  problem: string | null;
}

export interface WalWatchDependencies extends IncidentDependencies {
  policy: Policy;
}

export type WalWatchActivities = ReturnType<typeof createWalWatchActivities>;

const pointsMax = 20;

/** What coordination does for the archiving of WAL: it knows the plan, and people hear from it. */
export function createWalWatchActivities({ policy, catalog, announce }: WalWatchDependencies) {
  return {
    /** The machine that archives a source's WAL. Throws SourceUnknown, UsageInvalid. */
    planWal: ({ source }: { source: string }): Promise<{ host: string }> =>
      runActivity('plan', async () => ({ host: archivedSource(policy, source).host })),

    /** Opens, refreshes and resolves incidents; people are told of those that are new. */
    noteWal: ({ source, findings }: { source: string; findings: WalFinding[] }): Promise<void> =>
      runActivity('note', async ({ signal }) => {
        for (const { about, problem } of findings) {
          const key = `wal-${about}/${source}`;
          if (problem === null) {
            await resolveIncident(catalog, key);
            continue;
          }
          const incident = {
            key,
            severity: 'critical' as const,
            source,
            pointId: null,
            summary: problem,
            next: nextStep(about, source),
          };
          await tellIncident({ catalog, announce }, incident, signal);
        }
      }),

    /** Gaps that still keep moments from being restored: those before the newest base backup are over. */
    judgeWalGaps: ({ source, gaps }: { source: string; gaps: CopyGap[] }): Promise<WalFinding> =>
      runActivity('gaps', async () => {
        const points = await catalog.points({ source, limit: pointsMax });
        const bases = points.flatMap(({ backup }) => basePointOf(backup) ?? []);
        const open = gaps.filter((g) => bases.every((b) => b.timeline < g.timeline || b.start < lsnOf(g.to)));
        const words = open.slice(0, 3).map((g) => `${g.copy} lacks ${g.from} to ${g.to} of timeline ${g.timeline}`);
        const problem = open.length === 0 ? null : `The archived WAL of ${source} has a gap: ${words.join('; ')}`;
        return { about: 'gap', problem };
      }),
  };
}

function nextStep(about: WalFinding['about'], source: string): string {
  switch (about) {
    case 'archiving':
      return 'It is tried again by itself. See whether the server and the backup worker of its host are up (backupctl doctor).';
    case 'slot':
      return `See why WAL does not get away (backupctl wal status ${source}); the disk of the server must not fill up.`;
    case 'copies':
      return 'WAL waits on the staging disk, and goes there by itself. See what is wrong with the copy (backupctl doctor).';
    case 'gap':
      return `Take a base backup, from which moments can be restored again: backupctl backup run ${source} --wait`;
  }
}
