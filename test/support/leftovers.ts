import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { ListMultipartUploadsCommand, ListObjectVersionsCommand } from '@aws-sdk/client-s3';
import pg from 'pg';
import type { PostgresInstance } from '../../engine/sites/index.ts';
import { backupJsonName } from '../../policies/recovery-point.ts';
import { s3Client } from '../../scripts/stack/s3.ts';
import type { StackS3 } from '../../scripts/stack/stack.ts';
import { type CoordinatorStatus, coordinatorWorkflowId } from '../../workflows/contracts.ts';
import { processesNaming } from './processes.ts';
import type { Whole } from './whole.ts';

/**
 * Everything that jobs which have all ended should not have left, one line each: staged and scratch files, puts under
 * way, objects of no recovery point, processes, sessions of the sources, slots. Empty when all is clean.
 *
 * @param servers of sources, beside the stack's own; with their data below the whole's folder
 */
export async function leftovers(whole: Whole, servers: PostgresInstance[] = []): Promise<string[]> {
  const { stack, policy } = whole;
  const found: string[] = [];
  for (const file of await filesBelow(policy.staging.path)) {
    // What the next point is compared with is kept on purpose.
    if (!file.startsWith('.references/')) found.push(`staged: ${file}`);
  }
  for (const copy of policy.copies) {
    if (copy.kind === 'directory') found.push(...(await inFolder(copy.name, copy.path)));
  }
  found.push(
    ...(await inBucket('s3-east', stack.east, stack.bucket)),
    ...(await inBucket('s3-west', stack.west, stack.bucket)),
  );
  for (const server of [stack.postgres, ...servers]) found.push(...(await sessions(server)));
  found.push(...strayProcesses(whole, servers), ...(await slots(whole)), ...(await running(whole)));
  return found;
}

async function filesBelow(root: string): Promise<string[]> {
  const entries = await readdir(root, { withFileTypes: true, recursive: true }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    },
  );
  return entries.filter((e) => !e.isDirectory()).map((e) => path.relative(root, path.join(e.parentPath, e.name)));
}

async function inFolder(name: string, root: string): Promise<string[]> {
  const files = await filesBelow(root);
  const objects = files.filter((file) => !file.startsWith('.'));
  const pending = files.filter((file) => file.startsWith('.pending/')).map((file) => `${name}, under way: ${file}`);
  const halves = files.filter((file) => file.endsWith('.new')).map((file) => `${name}, half written: ${file}`);
  return [...pending, ...halves, ...orphans(objects).map((key) => `${name}, of no recovery point: ${key}`)];
}

async function inBucket(name: string, server: StackS3, bucket: string): Promise<string[]> {
  const client = s3Client(server);
  try {
    const { Uploads = [], IsTruncated } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
    const keys: string[] = [];
    const found = Uploads.map((upload) => `${name}, under way: ${upload.Key}`);
    if (IsTruncated) found.push(`${name}: and more under way`);
    let page: { KeyMarker?: string | undefined; VersionIdMarker?: string | undefined } = {};
    for (;;) {
      const listed = await client.send(new ListObjectVersionsCommand({ Bucket: bucket, ...page }));
      for (const version of listed.Versions ?? []) {
        if (version.IsLatest) keys.push(version.Key ?? '');
        else found.push(`${name}, an older version: ${version.Key}`);
      }
      for (const marker of listed.DeleteMarkers ?? [])
        found.push(`${name}, removed but kept by versioning: ${marker.Key}`);
      if (!listed.IsTruncated) break;
      page = { KeyMarker: listed.NextKeyMarker, VersionIdMarker: listed.NextVersionIdMarker };
    }
    return [...found, ...orphans(keys).map((key) => `${name}, of no recovery point: ${key}`)];
  } finally {
    client.destroy();
  }
}

/** Objects beside which there is no backup.json. Those at the root are the way out, which every store holds. */
function orphans(keys: string[]): string[] {
  const published = new Set(
    keys.filter((key) => path.basename(key) === backupJsonName).map((key) => path.dirname(key)),
  );
  return keys.filter((key) => key.includes('/') && !published.has(path.dirname(key)));
}

/** Of the servers and workers only their own; anything else that names our folder or our server is a child left alone. */
function strayProcesses({ dataDir, stack }: Whole, servers: PostgresInstance[]): string[] {
  const ours = [
    /workers\/main\.ts --role/,
    /versitygw .*--health/,
    /temporal server start-dev/,
    ...[stack.postgres, ...servers].map((server) => new RegExp(`^\\S*postgres -D ${server.dataDir} `)),
  ];
  const ports = [stack.postgres, ...servers].map(({ port }) => String(port));
  const named = [dataDir, ...ports].flatMap(processesNaming);
  const children = named.filter(({ args }) => !ours.some((own) => own.test(args)) && !args.startsWith('postgres:'));
  return [...new Set(children.map(({ pid, args }) => `process ${pid}: ${args}`))];
}

async function sessions(server: PostgresInstance): Promise<string[]> {
  const client = new pg.Client({ connectionString: server.uri() });
  await client.connect();
  try {
    const { rows } = await client.query(
      `SELECT datname, application_name, query FROM pg_stat_activity
       WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_backend_pid() AND datname IS DISTINCT FROM 'catalog'`,
    );
    const slots = await client.query('SELECT slot_name FROM pg_replication_slots');
    return [
      ...rows.map((row) => `session at ${row.datname} of ${row.application_name}: ${row.query}`),
      ...slots.rows.map((row) => `replication slot ${row.slot_name}`),
    ];
  } finally {
    await client.end();
  }
}

async function slots({ client }: Whole): Promise<string[]> {
  const { holders, queue } = await client.workflow
    .getHandle(coordinatorWorkflowId)
    .query<CoordinatorStatus, []>('status');
  return [
    ...holders.map((h) => `slot held by ${h.workflowId}`),
    ...queue.map((q) => `waiting for a slot: ${q.workflowId}`),
  ];
}

/** Jobs, and what cleans up behind them, are over. */
async function running({ client }: Whole): Promise<string[]> {
  const found: string[] = [];
  for await (const { type, workflowId } of client.workflow.list({ query: "ExecutionStatus = 'Running'" })) {
    if (workflowId !== coordinatorWorkflowId) found.push(`workflow ${type} still runs: ${workflowId}`);
  }
  return found;
}
