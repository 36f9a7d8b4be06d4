import { log } from '@temporalio/activity';
import type { Client } from '@temporalio/client';
import type { Policy } from '../policies/policy.ts';
import { isWalStrained, type StrainReport, strainLeaseMs, strainRenewMs, walCause } from '../policies/strain.ts';
import { runActivity } from './failure.ts';
import { type IncidentDependencies, resolveIncident, tellIncident } from './incidents.ts';
import { signalCoordinator } from './slot.ts';

export type StrainActivities = ReturnType<typeof createStrainActivities>;

const incidentKey = 'critical-only';

export function createStrainActivities(deps: IncidentDependencies) {
  return {
    /** Tells people that only critical sources get slots, and why; null: that everybody does again. */
    noteStrain: ({ why }: { why: string | null }): Promise<void> =>
      runActivity('note', async ({ signal }) => {
        if (why === null) return resolveIncident(deps.catalog, incidentKey);
        await tellIncident(
          deps,
          {
            key: incidentKey,
            severity: 'warning',
            source: null,
            pointId: null,
            summary: `Only critical sources are backed up: ${why}`,
            next: 'It ends by itself with its cause. "backupctl coordinator lift" lets every source have slots before.',
          },
          signal,
        );
      }),
  };
}

/** Tells the coordinator of what is under strain. */
export function strainTeller(client: Client, policy: Policy): (report: StrainReport) => Promise<void> {
  return (report) => signalCoordinator(client, policy, 'strain', report);
}

/**
 * Returns what looks at how much WAL of a source waits: it tells when its server is under strain, again and again while it
 * is, and when it no longer is. What cannot be told is told at the next look.
 *
 * @param tell to the coordinator
 * @param now milliseconds of any clock
 */
export function walStrainWatch(
  tell: (report: StrainReport) => Promise<void>,
  now: () => number = () => performance.now(),
) {
  /** When it was told last, of the sources under strain. */
  const told = new Map<string, number>();
  return async (source: string, waitingBytes: number, slotBytes: number): Promise<void> => {
    const before = told.get(source);
    const isStrained = isWalStrained(waitingBytes, slotBytes, before !== undefined);
    if (isStrained ? before !== undefined && now() - before < strainRenewMs : before === undefined) return;
    const why = isStrained ? `the WAL of ${source} does not get away, and its server must not fill up` : null;
    try {
      await tell({ cause: walCause(source), why, leaseMs: strainLeaseMs });
    } catch (error) {
      log.warn('the coordinator could not be told of the strain', { source, error: String(error) });
      return;
    }
    if (isStrained) told.set(source, now());
    else told.delete(source);
  };
}
