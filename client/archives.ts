import { type Client, WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from '@temporalio/client';
import type { Policy } from '../policies/policy.ts';
import { queues } from '../policies/queues.ts';
import { walArchiveId, walSources } from '../policies/wal-sources.ts';
import type { WalArchiveInput, WalArchiveStatus, WalBeat } from '../workflows/contracts.ts';
import { isOpen } from './temporal.ts';

/** What has to be done so that the WAL of those sources is archived for which the policy says so. Names of sources. */
export interface ArchiveChanges {
  start: string[];
  end: string[];
  same: string[];
}

export async function archiveChanges(client: Client, policy: Policy): Promise<ArchiveChanges> {
  const wanted = walSources(policy).map((s) => s.name);
  const running = await runningArchives(client);
  // A list lags behind what was just started.
  const isThere = async (name: string) => running.has(name) || isOpen(client, walArchiveId(name));
  const there = await Promise.all(wanted.map(isThere));
  return {
    start: wanted.filter((_, i) => !there[i]),
    end: [...running].filter((name) => !wanted.includes(name)),
    same: wanted.filter((_, i) => there[i]),
  };
}

/** Each by itself; repeating it changes nothing. What ends gives its replication slot up. */
export async function applyArchives(client: Client, { start, end }: ArchiveChanges): Promise<void> {
  for (const source of start) {
    try {
      await client.workflow.start('walArchive', {
        workflowId: walArchiveId(source),
        taskQueue: queues.coordination,
        args: [{ source } satisfies WalArchiveInput],
        staticSummary: `Archives the WAL of ${source}`,
      });
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    }
  }
  for (const source of end) await client.workflow.getHandle(walArchiveId(source)).cancel();
}

async function runningArchives(client: Client): Promise<Set<string>> {
  const found = new Set<string>();
  const query = `WorkflowType = 'walArchive' AND ExecutionStatus = 'Running'`;
  for await (const { workflowId } of client.workflow.list({ query })) {
    const source = workflowId.slice(walArchiveId('').length);
    if (walArchiveId(source) === workflowId) found.add(source);
  }
  return found;
}

/** How the archiving of a source stands, as Temporal knows it. */
export interface ArchiveState {
  isRunning: boolean;
  /** Null when it does not run, or no worker answers. */
  status: WalArchiveStatus | null;
  /** What its activities told last. */
  beat: WalBeat;
}

export async function archiveState(client: Client, source: string): Promise<ArchiveState> {
  const handle = client.workflow.getHandle(walArchiveId(source));
  try {
    const { status, raw } = await handle.describe();
    if (status.name !== 'RUNNING') return { isRunning: false, status: null, beat: {} };
    const beat: WalBeat = {};
    for (const { heartbeatDetails } of raw.pendingActivities ?? []) {
      const [payload] = heartbeatDetails?.payloads ?? [];
      if (!payload) continue;
      const told = client.options.loadedDataConverter.payloadConverter.fromPayload<{ wal?: WalBeat }>(payload);
      Object.assign(beat, told.wal);
    }
    // That it runs is known, also where no worker answers.
    const answer = await handle.query<WalArchiveStatus>('status').catch(() => null);
    return { isRunning: true, status: answer, beat };
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return { isRunning: false, status: null, beat: {} };
    throw error;
  }
}
