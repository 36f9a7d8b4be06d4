import type { Catalog } from '../engine/catalog/index.ts';
import { backupNow, type Decision, nextDue } from '../policies/calendar.ts';
import { durationSeconds } from '../policies/duration.ts';
import { sourcePolicy } from '../policies/plan.ts';
import type { Policy } from '../policies/policy.ts';
import type { ScheduledBackupInput } from '../workflows/contracts.ts';
import { runActivity } from './failure.ts';

export type ScheduleActivities = ReturnType<typeof createScheduleActivities>;

/** Points of a source that are looked at for the newest that a calendar asked for. */
const pointsMax = 1_000;

export function createScheduleActivities({ policy, catalog }: { policy: Policy; catalog: Pick<Catalog, 'points'> }) {
  return {
    /**
     * What is due for a source and not covered by a recovery point yet. A point covers all that was due when its job
     * began; so what failed, or was missed while nothing ran, is made up for the next time.
     */
    decideBackup: ({ source, ahead }: ScheduledBackupInput): Promise<Decision> =>
      runActivity('decide', async () => {
        const calendar = sourcePolicy(policy, source).calendar ?? policy.calendar;
        const now = new Date().toISOString();
        const points = await catalog.points({ source, limit: pointsMax });
        const covering = points.find(({ backup }) => backup.classes.some((c) => c !== 'manual'));
        const horizon = Date.parse(now) - durationSeconds(calendar.catchUpWindow) * 1000;
        const coveredUntil = covering?.backup.startedAt ?? new Date(horizon).toISOString();
        const decision = backupNow(calendar, { coveredUntil, now });
        const next = ahead ? nextDue(calendar, now) : null;
        if (decision.backup !== null || next === null) return decision;
        return { ...decision, backup: { classes: next.classes, level: next.level }, due: [next] };
      }),
  };
}
