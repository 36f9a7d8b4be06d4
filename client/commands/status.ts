import { WorkflowNotFoundError } from '@temporalio/client';
import { durationSeconds } from '../../policies/duration.ts';
import { formatDuration } from '../../policies/progress.ts';
import { type BackupStatus, type CoordinatorStatus, coordinatorWorkflowId } from '../../workflows/contracts.ts';
import type { Context } from '../context.ts';
import { table } from '../table.ts';

interface RunningJob {
  workflowId: string;
  type: string;
  startedAt: string;
  /** Null for restores, and where no worker answers. */
  status: BackupStatus | null;
}

interface SourceState {
  source: string;
  newestPoint: string | null;
  /** Seconds since the newest point's state was captured. */
  ageSeconds: number | null;
  rpoSeconds: number;
  withinRpo: boolean;
}

/** Jobs that are asked how they are; a fleet may have more. */
const jobsMax = 50;

export async function status(context: Context): Promise<number | undefined> {
  const policy = await context.policy();
  const client = await context.temporal();
  const catalog = await context.catalog();
  const [coordinator, jobs, sources, open] = await Promise.all([
    coordinatorStatus(client),
    runningJobs(client),
    Promise.all(
      policy.sources.map(async (source): Promise<SourceState> => {
        const [newest] = await catalog.points({ source: source.name, limit: 1 });
        const rpoSeconds = durationSeconds(source.rpo);
        const ageSeconds = newest ? Math.round((Date.now() - Date.parse(newest.backup.capturedAt)) / 1000) : null;
        return {
          source: source.name,
          newestPoint: newest?.backup.id ?? null,
          ageSeconds,
          rpoSeconds,
          withinRpo: ageSeconds !== null && ageSeconds <= rpoSeconds,
        };
      }),
    ),
    catalog.incidents({ open: true }),
  ]);
  const { out } = context;
  out.result({ coordinator, jobs, sources, openIncidents: open.length }, () =>
    [
      coordinator
        ? `Coordinator ${coordinator.mode}${coordinator.modeSetBy ? ` (by ${coordinator.modeSetBy.operator}: ${coordinator.modeSetBy.reason})` : ''}: ` +
          `${coordinator.holders.length} of ${coordinator.slots} slots in use, ${coordinator.queue.length} waiting`
        : 'No coordinator runs yet: the first backup starts it.',
      ...(jobs.length === 0
        ? ['No job is running.']
        : jobs.map((j) => `${j.workflowId}  ${j.status ? `${j.status.phase}  ${j.status.progressLine}` : 'running'}`)),
      table(
        ['source', 'newest recovery point', 'age', 'RPO'],
        sources.map((s) => [
          s.source,
          s.newestPoint ?? 'none yet',
          s.ageSeconds === null ? '' : formatDuration(s.ageSeconds * 1000),
          `${s.withinRpo ? '✓' : '✗'} ${formatDuration(s.rpoSeconds * 1000)}`,
        ]),
      ),
      open.length === 0 ? 'No open incident.' : `${open.length} open: see "backupctl incidents".`,
    ].join('\n'),
  );
  return undefined;
}

type Client = Awaited<ReturnType<Context['temporal']>>;

async function coordinatorStatus(client: Client): Promise<CoordinatorStatus | null> {
  try {
    return await client.workflow.getHandle(coordinatorWorkflowId).query<CoordinatorStatus>('status');
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  }
}

async function runningJobs(client: Client): Promise<RunningJob[]> {
  const jobs: RunningJob[] = [];
  const query = 'WorkflowType IN ("backup", "restore") AND ExecutionStatus = "Running"';
  for await (const { workflowId, type, startTime } of client.workflow.list({ query, pageSize: jobsMax })) {
    // A job whose worker is away cannot answer; that it runs is known all the same.
    const state =
      type === 'backup'
        ? await client.workflow
            .getHandle(workflowId)
            .query<BackupStatus>('status')
            .catch(() => null)
        : null;
    jobs.push({ workflowId, type, startedAt: startTime.toISOString(), status: state });
    if (jobs.length === jobsMax) break;
  }
  return jobs;
}
