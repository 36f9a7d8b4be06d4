import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import pg from 'pg';
import { describeError } from '../client/errors.ts';
import { type Started, startWorkflow } from '../client/temporal.ts';
import { openPoint } from '../engine/artifact/index.ts';
import { resolveSecret } from '../engine/config/index.ts';
import { openSource } from '../engine/sources/index.ts';
import { openStore } from '../engine/stores/open.ts';
import { Failure } from '../policies/failure.ts';
import type { Policy, SourcePolicy } from '../policies/policy.ts';
import { formatBytes, formatDuration } from '../policies/progress.ts';
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

/**
 * The main job: backs every source up and shows how each gets on, then restores one of each kind from the last copy
 * of the policy (the other region) and compares it with what was captured. What can be tried is tried; then the first
 * failure is thrown, the others having been printed.
 */
export async function runMainJob(options: MainJobOptions): Promise<void> {
  const { client, policy, print } = options;
  const failures: unknown[] = [];
  const ends = await Promise.allSettled(policy.sources.map((source) => backUp(client, source, print)));
  for (const [i, end] of ends.entries()) {
    if (end.status === 'rejected') failures.push(asFailure(`Backup of ${policy.sources[i]?.name}`, end.reason));
  }
  print('');
  print(await pointsTable(policy));
  print('');
  for (const kind of sourceKinds) {
    const source = policy.sources.find((s, i) => s.kind === kind && ends[i]?.status === 'fulfilled');
    if (!source) continue;
    try {
      print(await restoreAndCompare(source, options));
    } catch (error) {
      failures.push(asFailure(`Restore of ${source.name}`, error));
    }
  }
  for (const { message, next } of failures.slice(1).map(describeError)) print(`✗ ${message}\n  next: ${next}`);
  if (failures.length > 0) throw failures[0];
}

async function backUp(client: Client, source: SourcePolicy, print: (line: string) => void): Promise<BackupResult> {
  const result = await follow<BackupResult>(client, {
    started: await startWorkflow(client, {
      type: 'backup',
      source: source.name,
      input: { source: source.name } satisfies BackupInput,
      summary: `Back up ${source.name} (full)`,
    }),
    name: source.name,
    print,
  });
  for (const warning of result.warnings) print(`  ${source.name}: note: ${warning}`);
  if (result.outcome === 'succeeded') return result;
  const failed = result.copies.filter((c) => c.state === 'failed').map((c) => `copy ${c.copy} failed: ${c.error}`);
  throw new Failure(
    'RuleBreached',
    `${result.pointId} stands, but not as promised: ${[...failed, ...result.rule.breaches].join('; ')}`,
    { next: 'Mend what is named ("backupctl doctor" checks every copy), then run the backup again.' },
  );
}

interface Followed {
  started: Started;
  name: string;
  print(line: string): void;
}

/** Prints the progress line whenever it or the phase has changed, until the workflow ends. */
async function follow<T>(client: Client, { started, name, print }: Followed): Promise<T> {
  const handle = client.workflow.getHandle(started.workflowId, started.runId);
  const ended = handle.result() as Promise<T>;
  const over = ended.then(
    () => true,
    () => true,
  );
  let last = '';
  for (let isOver = false; !isOver; ) {
    isOver = await Promise.race([over, setTimeout(400, false)]);
    const line = await handle.query<BackupStatus, []>('status').then(
      ({ phase, progressLine }) => `${phase.padEnd(9)} ${progressLine}`,
      // The job goes on without it: the worker that answers is being started again.
      () => last,
    );
    if (line !== last) print(`  ${name.padEnd(14)} ${line}`);
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
    const { workflowId, runId } = await startWorkflow(client, {
      type: 'restore',
      source: source.name,
      input: {
        source: source.name,
        from: from.name,
        into: target.into,
        operator: process.env.USER ?? 'npm start',
        reason: 'npm start restores one source of each kind from the last copy, to show that it can be done',
      } satisfies RestoreInput,
      summary: `Restore ${source.name} from ${from.name}`,
    });
    const restored: RestoreResult = await client.workflow.getHandle(workflowId, runId).result();
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

/** The innermost reason, with its own type and next step. What nobody foresaw stays as it is, with its stack. */
function asFailure(what: string, error: unknown): unknown {
  const { type, message, next } = describeError(error);
  return type === 'Unexpected' ? error : new Failure(type, `${what}: ${message}`, { next, cause: error });
}
