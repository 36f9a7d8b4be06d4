import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type Client, WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import pg from 'pg';
import { openPoint } from '../engine/artifact/index.ts';
import { resolveSecret } from '../engine/config/index.ts';
import { openSource } from '../engine/sources/index.ts';
import { openStore } from '../engine/stores/index.ts';
import { Failure, isFailure } from '../policies/failure.ts';
import type { Policy, SourcePolicy } from '../policies/policy.ts';
import { formatBytes, formatDuration } from '../policies/progress.ts';
import { queues } from '../policies/queues.ts';
import { sourceKinds } from '../policies/recovery-point.ts';
import type { BackupInput, BackupResult, BackupStatus, RestoreInput, RestoreResult } from '../workflows/contracts.ts';
import { pointsTable } from './points-table.ts';

export interface MainJobOptions {
  client: Client;
  policy: Policy;
  /** Restores go into folders below it, which are removed again. */
  workDir: string;
  /** A server to restore databases into: a URI of its `postgres` database, with the password. */
  restoreServer: string;
  print(line: string): void;
}

type Backup = (input: BackupInput) => Promise<BackupResult>;
type Restore = (input: RestoreInput) => Promise<RestoreResult>;

/**
 * The main job: backs every source up and shows how each gets on, then restores one of each kind from the last copy
 * of the policy (the other region) and compares it with what was captured. What can be tried is tried; then the first
 * failure is thrown.
 */
export async function runMainJob(options: MainJobOptions): Promise<void> {
  const { client, policy, print } = options;
  const failures: Failure[] = [];
  const ends = await Promise.allSettled(policy.sources.map((source) => backUp(client, source, print)));
  for (const end of ends) if (end.status === 'rejected') failures.push(asFailure(end.reason));
  print('');
  print(await pointsTable(policy));
  print('');
  for (const kind of sourceKinds) {
    const source = policy.sources.find((s, i) => s.kind === kind && ends[i]?.status === 'fulfilled');
    if (!source) continue;
    try {
      print(await restoreAndCompare(source, options));
    } catch (error) {
      failures.push(asFailure(error));
    }
  }
  for (const failure of failures.slice(1)) print(`✗ ${failure.message}\n  ${failure.next}`);
  if (failures[0]) throw failures[0];
}

async function backUp(client: Client, source: SourcePolicy, print: (line: string) => void): Promise<BackupResult> {
  const handle = await client.workflow.start<Backup>('backup', {
    workflowId: `backup/${source.name}/${new Date().toISOString()}`,
    taskQueue: queues.coordination,
    args: [{ source: source.name }],
    staticSummary: `Back up ${source.name} (full)`,
  });
  const result = await follow(handle, source.name, print);
  for (const warning of result.warnings) print(`  ${source.name}: note: ${warning}`);
  if (result.outcome === 'succeeded') return result;
  throw new Failure(
    'RuleBreached',
    `${result.pointId} stands, but not as promised: ${result.rule.breaches.join('; ')}`,
    {
      next: 'Mend the copy that failed ("backupctl doctor" shows which), then run the backup again.',
    },
  );
}

/** Prints the progress line whenever it or the phase has changed, until the workflow ends. */
async function follow(
  handle: WorkflowHandle<Backup>,
  name: string,
  print: (line: string) => void,
): Promise<BackupResult> {
  const ended = handle.result();
  const over = ended.then(
    () => true,
    () => true,
  );
  let last = '';
  for (let isOver = false; !isOver; ) {
    isOver = await Promise.race([over, setTimeout(400, false)]);
    const { progressLine, phase } = await handle.query<BackupStatus, []>('status');
    const line = `  ${name.padEnd(14)} ${phase.padEnd(9)} ${progressLine}`;
    if (line !== last) print(line);
    last = line;
  }
  return ended;
}

async function restoreAndCompare(source: SourcePolicy, options: MainJobOptions): Promise<string> {
  const { client, policy, workDir } = options;
  const from = policy.copies.at(-1);
  if (!from)
    throw new Failure('CopyUnknown', 'The policy has no copy to restore from.', { next: 'Add one under copies.' });
  const target =
    source.kind === 'postgres-logical'
      ? await emptyDatabase(options, source.name)
      : await emptyFolder(workDir, source.name);
  try {
    const restored = await client.workflow.execute<Restore>('restore', {
      workflowId: `restore/${source.name}/${new Date().toISOString()}`,
      taskQueue: queues.coordination,
      args: [
        {
          source: source.name,
          from: from.name,
          into: target.into,
          operator: process.env.USER ?? 'npm start',
          reason: 'npm start restores one source of each kind from the last copy, to show that it can be done',
        },
      ],
      staticSummary: `Restore ${source.name} from ${from.name}`,
    });
    const compared = await compare(source, policy, restored, target.place);
    if (compared.differences.length > 0) {
      throw new Failure(
        'ValidationFailed',
        `${restored.pointId}, restored from ${from.name}, differs: ${compared.differences.join('; ')}`,
        {
          next: 'Do not rely on this point; run "backupctl backup verify" for each of its copies.',
        },
      );
    }
    return (
      `✓ ${source.name} restored from ${from.name} (${from.region}): ${formatBytes(restored.bytes)} in ` +
      `${formatDuration(restored.durationMs)}; ${compared.details} compared, no difference`
    );
  } finally {
    await target.remove();
  }
}

async function compare(source: SourcePolicy, policy: Policy, restored: RestoreResult, place: string) {
  const copy = policy.copies.find((c) => c.name === restored.from);
  if (!copy)
    throw new Failure('CopyUnknown', `The policy has no copy ${restored.from}.`, { next: 'Add it under copies.' });
  const store = await openStore(copy, { access: 'read', resolveSecret });
  try {
    const point = await openPoint({
      store,
      source: source.name,
      id: restored.pointId,
      identity: await resolveSecret(policy.keys.identity),
      trusted: policy.keys.trusted,
    });
    return await openSource(source, { resolveSecret }).compare(point, place, new AbortController().signal);
  } finally {
    await store.close();
  }
}

interface Target {
  into: RestoreInput['into'];
  /** For the comparison; carries the password where there is one, and so never leaves this process. */
  place: string;
  remove(): Promise<void>;
}

async function emptyFolder(workDir: string, name: string): Promise<Target> {
  const directory = path.join(workDir, name);
  await rm(directory, { recursive: true, force: true });
  await mkdir(workDir, { recursive: true });
  return { into: { directory }, place: directory, remove: () => rm(directory, { recursive: true, force: true }) };
}

async function emptyDatabase({ restoreServer }: MainJobOptions, name: string): Promise<Target> {
  const database = `restored_${name.replaceAll('-', '_')}`;
  const run = async (...statements: string[]) => {
    const client = new pg.Client({ connectionString: restoreServer });
    await client.connect();
    try {
      for (const statement of statements) await client.query(statement);
    } finally {
      await client.end();
    }
  };
  const drop = `DROP DATABASE IF EXISTS ${pg.escapeIdentifier(database)} WITH (FORCE)`;
  await run(drop, `CREATE DATABASE ${pg.escapeIdentifier(database)} TEMPLATE template0`);
  const place = new URL(restoreServer);
  place.pathname = `/${database}`;
  const databaseUri = new URL(place);
  databaseUri.password = '';
  return { into: { databaseUri: databaseUri.href }, place: place.href, remove: () => run(drop) };
}

/** The innermost reason, as a Failure. */
function asFailure(error: unknown): Failure {
  if (isFailure(error)) return error;
  let at = error;
  while (at instanceof Error && at.cause instanceof Error) at = at.cause;
  const words = at instanceof Error ? at.message : String(at);
  const what = error instanceof WorkflowFailedError ? words : `${words}`;
  return new Failure('SourceFailed', what, {
    next: 'The workflow in the Temporal Web UI shows every attempt; mend the cause and run it again.',
    cause: error,
  });
}
