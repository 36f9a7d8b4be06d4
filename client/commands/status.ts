import { WorkflowNotFoundError } from '@temporalio/client';
import { durationSeconds } from '../../policies/duration.ts';
import { formatDuration } from '../../policies/progress.ts';
import { type BackupStatus, type CoordinatorStatus, coordinatorWorkflowId } from '../../workflows/contracts.ts';
import { type ArchiveState, archiveState } from '../archives.ts';
import type { Context } from '../context.ts';
import { jobLine } from '../progress.ts';
import { table } from '../table.ts';
import { strainWords } from './coordinator.ts';

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
  /** Seconds since the newest state that can be restored: that of the newest point, or of the archived WAL. */
  ageSeconds: number | null;
  rpoSeconds: number;
  withinRpo: boolean;
  /** Of a cluster whose WAL is archived. */
  wal?: { archiving: string; until: string | null; worstLagSeconds: number | null };
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
        const archived = newest && 'wal' in source && source.wal ? await archiveState(client, source.name) : null;
        // With its WAL, a cluster comes back as it was long after its newest point.
        const until = [newest?.backup.capturedAt, archived?.beat.shipped?.until]
          .filter((t) => t !== undefined)
          .sort()
          .at(-1);
        const ageSeconds =
          until === undefined ? null : Math.max(0, Math.round((Date.now() - Date.parse(until)) / 1000));
        return {
          source: source.name,
          newestPoint: newest?.backup.id ?? null,
          ageSeconds,
          rpoSeconds,
          withinRpo: ageSeconds !== null && ageSeconds <= rpoSeconds,
          ...(archived ? { wal: walState(archived) } : {}),
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
      ...(coordinator ? strainWords(coordinator) : []),
      ...(jobs.length === 0
        ? ['No job is running.']
        : jobs.map((j) => `${j.workflowId}  ${j.status ? jobLine(j.status) : 'running'}`)),
      table(
        ['source', 'newest recovery point', 'age', 'RPO'],
        sources.map((s) => [
          s.source,
          s.newestPoint ?? 'none yet',
          s.ageSeconds === null ? '' : formatDuration(s.ageSeconds * 1000),
          `${s.withinRpo ? '✓' : '✗'} ${formatDuration(s.rpoSeconds * 1000)}${s.wal ? `\n${walWords(s.wal)}` : ''}`,
        ]),
      ),
      open.length === 0 ? 'No open incident.' : `${open.length} open: see "backupctl incidents".`,
    ].join('\n'),
  );
  return undefined;
}

type Client = Awaited<ReturnType<Context['temporal']>>;

function walState({ isRunning, status, beat }: ArchiveState): NonNullable<SourceState['wal']> {
  const worst = beat.canary?.worstLagMs ?? null;
  return {
    archiving: isRunning ? (status?.streaming ?? 'unknown') : 'stopped',
    until: beat.shipped?.until ?? null,
    worstLagSeconds: worst === null ? null : Math.round(worst / 1000),
  };
}

function walWords({ archiving, worstLagSeconds }: NonNullable<SourceState['wal']>): string {
  if (archiving !== 'well') return `WAL: ${archiving}`;
  return worstLagSeconds === null ? 'WAL archived' : `WAL archived, measured ${formatDuration(worstLagSeconds * 1000)}`;
}

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
