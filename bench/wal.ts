import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import pg from 'pg';
import { stringify } from 'yaml';
import { applyArchives, archiveChanges, archiveState } from '../client/archives.ts';
import { roles } from '../policies/queues.ts';
import { prepare } from '../scripts/prepare.ts';
import { startStack } from '../scripts/stack/stack.ts';
import { startWorkers } from '../scripts/workers.ts';
import { type BenchContext, mib, table } from './context.ts';

const source = 'bench';
const every = '30s';
const canaryEvery = '5s';

/** What one stretch of time showed. */
interface Measured {
  /** Of each canary, in ms: from when it was written until it lay in all copies. */
  lags: number[];
  walBytes: number;
  keptBytesMax: number;
}

/**
 * The real RPO of a cluster whose WAL is archived by the whole of it (Temporal, workers, two S3 servers and a disk): how
 * long rows take until they can be restored from every copy; while the server has nothing to do, and while it writes.
 */
export async function benchWal({ dir }: BenchContext, { seconds }: { seconds: number }): Promise<string> {
  const dataDir = path.join(dir, 'wal');
  const ports = { temporal: 0, temporalUi: 0, postgres: 0, east: 0, eastConsole: 0, west: 0, westConsole: 0 };
  const stack = await startStack({ dataDir, ports });
  try {
    const { host, port, user } = stack.postgres;
    const connection = { host, port, user, password: `file:${dataDir}/secrets/postgres-password` };
    const wal = { every, canary: { every: canaryEvery } };
    const userPolicy = path.join(dataDir, 'own.yaml');
    await writeFile(userPolicy, stringify({ sources: [{ name: source, kind: 'postgres-physical', connection, wal }] }));
    const { file, policy } = await prepare(stack, { userPolicy });
    const workers = await startWorkers({ policyFile: file, logDir: path.join(dataDir, 'logs'), roles });
    const temporal = await Connection.connect({ address: stack.temporal.address });
    try {
      const client = new Client({ connection: temporal, namespace: stack.temporal.namespace });
      await applyArchives(client, await archiveChanges(client, policy));
      while (!(await archiveState(client, source)).beat.canary?.newest) await setTimeout(500);
      const idle = await observe(client, stack.postgres.uri(), seconds, async () => {});
      const loaded = await observe(client, stack.postgres.uri(), seconds, (until) => load(stack.postgres.uri(), until));
      return section({ idle, 'under load': loaded }, seconds);
    } finally {
      await temporal.close();
      await workers.stop();
    }
  } finally {
    await stack.stop();
  }
}

async function observe(
  client: Client,
  uri: string,
  seconds: number,
  work: (until: AbortSignal) => Promise<void>,
): Promise<Measured> {
  const until = AbortSignal.timeout(seconds * 1000);
  const begun = await position(uri);
  const since = new Date().toISOString();
  const lags = new Map<string, number>();
  let keptBytesMax = 0;
  const working = work(until);
  while (!until.aborted) {
    const { beat } = await archiveState(client, source);
    keptBytesMax = Math.max(keptBytesMax, beat.keptBytes ?? 0);
    for (const { at, afterMs } of beat.canary?.last ?? []) if (at > since) lags.set(at, afterMs);
    await setTimeout(1_000);
  }
  await working;
  return { lags: [...lags.values()], walBytes: (await position(uri)) - begun, keptBytesMax };
}

async function position(uri: string): Promise<number> {
  return onServer(uri, async (query) => Number((await query(`SELECT pg_current_wal_lsn() - '0/0' AS n`))[0]?.n));
}

/** Small transactions and large ones, one after the other, in four sessions. */
async function load(uri: string, until: AbortSignal): Promise<void> {
  await onServer(uri, (query) => query('CREATE TABLE load (id bigserial PRIMARY KEY, filling text)'));
  const session = () =>
    onServer(uri, async (query) => {
      while (!until.aborted) {
        await query(`INSERT INTO load (filling) SELECT md5(random()::text) FROM generate_series(1, 200)`);
      }
    });
  await Promise.all(Array.from({ length: 4 }, session));
}

async function onServer<T>(
  uri: string,
  body: (query: (sql: string) => Promise<Record<string, unknown>[]>) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({ connectionString: uri });
  await client.connect();
  try {
    return await body(async (sql) => (await client.query(sql)).rows);
  } finally {
    await client.end();
  }
}

function section(phases: Record<string, Measured>, seconds: number): string {
  const tenth = (ms: number) => (ms / 1000).toFixed(1);
  const rows = Object.entries(phases).map(([name, { lags, walBytes, keptBytesMax }]) => {
    const sorted = lags.toSorted((a, b) => a - b);
    const median = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
    return [name, sorted.length, tenth(median), tenth(sorted.at(-1) ?? Number.NaN), mib(walBytes), mib(keptBytesMax)];
  });
  return [
    '## WAL: the measured RPO',
    '',
    `A cluster archived with \`every: ${every}\` into three copies, two of them S3, for ${seconds} s each; a canary every ` +
      `${canaryEvery}. How long each row took until it could be restored from every copy.`,
    '',
    table(['', 'rows', 'median s', 'worst s', 'WAL written MiB', 'kept by the server at most MiB'], rows),
    '',
  ].join('\n');
}
