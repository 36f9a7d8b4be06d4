import { randomBytes } from 'node:crypto';
import { log } from '@temporalio/activity';
import { parseBackupJson } from '../engine/artifact/index.ts';
import type { Catalog, JobRecord } from '../engine/catalog/index.ts';
import { type NotificationEvent, placesOf } from '../engine/notify/index.ts';
import { readBytes, type Store } from '../engine/stores/index.ts';
import type { BackupPlan } from '../policies/backup-plan.ts';
import { withoutLost } from '../policies/chain.ts';
import { impossibleClaim } from '../policies/claims.ts';
import { Failure } from '../policies/failure.ts';
import { isHeld } from '../policies/hold.ts';
import { planBackup, planPointsMax, sourceHours } from '../policies/plan.ts';
import type { Policy } from '../policies/policy.ts';
import { type PruneStep, planPrune } from '../policies/prune.ts';
import { type BackupJson, backupJsonName, type Level, pointPrefix } from '../policies/recovery-point.ts';
import { judgePolicy, type RuleVerdict } from '../policies/three-two-one.ts';
import type { WindowState } from '../policies/window.ts';
import type { BackupInput, BackupResult, CopyOutcome, Leftovers } from '../workflows/contracts.ts';
import { runActivity } from './failure.ts';
import { resolveIncident, settle } from './incidents.ts';
import { lostLinks } from './lost-links.ts';
import { readersOf } from './readings.ts';
import type { WatchDependencies } from './watch-holders.ts';

/** What a coordination worker is given: the catalog, stores to read, and the ways to reach people. */
export interface CoordinationDependencies extends WatchDependencies {
  policy: Policy;
  catalog: Catalog;
  store(copy: string): Promise<Store>;
  /** Tells people; resolves to one line per receiver that could not be reached. */
  announce(event: NotificationEvent, signal: AbortSignal): Promise<string[]>;
}

/** How a job ended. */
export interface JobEnd extends JobRecord {
  level: Level;
  /** Null when it failed. */
  result: BackupResult | null;
  leftovers: Leftovers;
  /** One line per receiver that could not be told. */
  unreached: string[];
}

export type CoordinationActivities = ReturnType<typeof createCoordinationActivities>;

export function createCoordinationActivities(deps: CoordinationDependencies) {
  const { policy, catalog } = deps;
  return {
    /**
     * Decides what the job will do; what it would build upon is looked for in every store. Nothing has been touched yet.
     */
    planBackup: (request: Required<BackupInput>): Promise<BackupPlan> =>
      runActivity('plan', async () => {
        const { source } = request;
        const [points, marks, begun] = await Promise.all([
          catalog.points({ source, limit: planPointsMax }),
          catalog.retention.marks(source),
          catalog.retention.removals({ source, open: true }),
        ]);
        const now = new Date().toISOString();
        const random = randomBytes(4).toString('hex');
        const expiring = [...marks, ...begun].map((p) => p.pointId);
        // Each round takes away what was lost, so it comes to an end.
        for (let there = points; ; ) {
          const plan = planBackup(policy, { ...request, points: there, expiring, now, random });
          const parent = plan.waitUntil === undefined ? plan.parent?.pointId : undefined;
          const lost = parent === undefined ? [] : await lostLinks(deps, there, { source, parent });
          if (lost.length === 0) return plan;
          there = withoutLost(there, lost);
        }
      }),

    /** Whether a source may be backed up at an instant of the job's own clock, by the policy as it is now. */
    lookAtHours: ({ source, at }: { source: string; at: string }): Promise<WindowState> =>
      runActivity('hours', async () => sourceHours(policy, source, at)),

    /**
     * Enters the point as the stores hold it: backup.json is read back from every copy and its signature verified.
     * Judges the 3-2-1 rule; a breach is an incident.
     */
    recordPoint: (input: { plan: BackupPlan; copies: CopyOutcome[] }): Promise<{ rule: RuleVerdict }> =>
      runActivity('record', async () => {
        const { plan } = input;
        const key = pointPrefix(plan.source, plan.pointId) + backupJsonName;
        let backup: BackupJson | null = null;
        for (const copy of input.copies.filter((c) => c.state === 'verified')) {
          const store = await deps.store(copy.copy);
          backup = parseBackupJson(await readBytes(store, key), policy.keys.trusted);
          const { modifiedAt, lockedUntil, held } = await store.head(key);
          const impossible = impossibleClaim(backup, modifiedAt);
          if (impossible !== null) {
            throw new Failure('ValidationFailed', `${plan.pointId} does not count in ${copy.copy}: ${impossible}.`, {
              next: 'Set the clocks of the backup host and of the store by NTP, then run the backup again.',
            });
          }
          await catalog.recordPoint(backup);
          await catalog.recordCopy({
            pointId: plan.pointId,
            copy: copy.copy,
            state: 'verified',
            bytes: backup.objects.reduce((sum, o) => sum + o.bytes, 0),
            publishedAt: modifiedAt,
            verifiedAt: modifiedAt,
            lockedUntil,
            held,
            error: null,
          });
        }
        if (!backup)
          throw new Failure('PointUnknown', `${plan.pointId} lies in no store.`, { next: 'Run the backup again.' });
        for (const copy of input.copies.filter((c) => c.state === 'failed')) {
          await catalog.recordCopy({
            pointId: plan.pointId,
            copy: copy.copy,
            state: 'failed',
            bytes: 0,
            publishedAt: null,
            verifiedAt: null,
            lockedUntil: null,
            held: false,
            error: copy.error,
          });
        }
        const rule = judgePoint(policy, input.copies);
        await settle(catalog, rule.satisfied, {
          key: `rule-breached/${plan.source}`,
          severity: 'critical',
          source: plan.source,
          pointId: plan.pointId,
          summary: `${plan.pointId} does not keep the 3-2-1 rule: ${rule.breaches.join('; ')}`,
          next: 'Mend the copy that failed (backupctl doctor), then run the backup again.',
        });
        return { rule };
      }),

    planPrune: (input: { source: string }): Promise<PruneStep[]> =>
      runActivity('plan prune', async () => {
        const points = await catalog.points({ source: input.source });
        const readers = await readersOf(deps, input.source);
        return planPrune(
          policy.copies,
          points.map((p) => ({
            pointId: p.backup.id,
            parent: p.backup.parent,
            level: p.backup.level,
            copies: p.copies,
            held: isHeld(p) || readers.has(p.backup.id),
          })),
          new Date().toISOString(),
        );
      }),

    recordPruned: ({ pruned }: { pruned: Pick<PruneStep, 'pointId' | 'copy'>[] }): Promise<void> =>
      runActivity('record prune', async () => {
        for (const { pointId, copy } of pruned) await catalog.forgetCopy(pointId, copy);
      }),

    /** Tells people how the job ended. Returns one line per receiver that could not be reached. */
    announceJob: (end: Omit<JobEnd, 'unreached'>): Promise<string[]> =>
      runActivity('announce', ({ signal }) => deps.announce(end, signal)),

    /** Keeps how the job ended, and opens or closes the incidents that follow from it. */
    concludeJob: (end: JobEnd): Promise<void> =>
      runActivity('conclude', async () => {
        const { workflowId, runId, source, pointId, outcome, startedAt, finishedAt, phases, error } = end;
        await catalog.recordJob({
          workflowId,
          runId,
          source,
          pointId,
          outcome,
          startedAt,
          finishedAt,
          phases,
          error,
        });
        await settle(catalog, end.outcome === 'succeeded' || end.outcome === 'partial', {
          key: `backup-failed/${end.source}`,
          severity: 'critical',
          source: end.source,
          pointId: end.pointId,
          summary: `Backup of ${end.source} ${end.outcome}: ${end.error ?? 'no reason given'}`,
          next: `Mend the cause, then run "backupctl backup run ${end.source} --wait".`,
        });
        for (const line of end.unreached) log.error('notification failed', { line });
        await settle(catalog, end.unreached.length === 0, {
          key: 'notification-failed',
          severity: 'warning',
          source: end.source,
          pointId: end.pointId,
          summary: end.unreached.join('; '),
          next: 'Mend the receiver named here; "backupctl doctor" checks the settings.',
        });
        if (pointId === null) return;
        const places = placesOf(end.leftovers);
        await settle(catalog, places.length === 0, {
          key: leftoversKey(pointId),
          severity: 'warning',
          source: end.source,
          pointId,
          summary: `What the job had begun still lies on ${places.join(', ')}.`,
          next: `It goes by itself when its place is there again: the workflow cleanup/${pointId} sees to it.`,
        });
      }),

    /** All that a job had left is gone. */
    resolveLeftovers: ({ pointId }: { pointId: string }): Promise<void> =>
      runActivity('resolve leftovers', () => resolveIncident(catalog, leftoversKey(pointId))),
  };
}

/** The 3-2-1 verdict on a point whose copies ended so. */
export function judgePoint(policy: Policy, copies: { copy: string; state: string }[]): RuleVerdict {
  return judgePolicy(policy, (name) => copies.some((o) => o.copy === name && o.state === 'verified'));
}

const leftoversKey = (pointId: string) => `leftovers/${pointId}`;
