import { chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { createPostgresInstance, type PostgresInstance, unprivilegedUser } from '../../engine/sites/index.ts';
import { createPostgresPhysicalSource, type Source } from '../../engine/sources/index.ts';
import { postgresPhysicalSource } from '../../policies/policy.ts';
import { findPostgres, findPostgres18 } from '../../scripts/stack/find.ts';

/** A cluster to back up, with a role that may replicate and nothing else. */
export interface Cluster {
  dir: string;
  readonly server: PostgresInstance;
  /** Outside of the data directory. */
  tablespace: string;
  source(more?: Record<string, unknown>, password?: string): Source;
  /** Runs each statement by itself; returns the last one's rows. */
  sql(database: string, ...statements: string[]): Promise<Record<string, unknown>[]>;
  /** Stops the server, does something to its files, and starts it again, on whatever port. */
  restart(meanwhile?: (dataDir: string) => void): Promise<void>;
  remove(): Promise<void>;
}

export const password = "s3cr3t:/@'x";
const replicator = 'saver';

/** Has everything in this process find the programs of both major versions, and nothing else. Returns their folders. */
export async function usePostgresBinDirs(): Promise<{ 15: string; 18: string }> {
  const binDirs = { 15: (await findPostgres()).binDir, 18: (await findPostgres18()).binDir };
  process.env.PG_BIN_DIRS = Object.values(binDirs).join(':');
  return binDirs;
}

export async function makeCluster(binDir: string, settings: Record<string, string> = {}): Promise<Cluster> {
  const dir = mkdtempSync(path.join(tmpdir(), 'source-cluster-'));
  const start = () =>
    createPostgresInstance({
      dataDir: path.join(dir, 'production'),
      binDir,
      password,
      settings: { fsync: 'off', ...settings },
    });
  let server = await start();
  const tablespace = path.join(dir, 'fast disk');
  mkdirSync(tablespace, { mode: 0o700 });
  const user = await unprivilegedUser();
  if (user) chownSync(tablespace, user.uid, user.gid);
  const cluster: Cluster = {
    dir,
    get server() {
      return server;
    },
    tablespace,
    source: (more = {}, secret = password) =>
      createPostgresPhysicalSource(
        postgresPhysicalSource.parse({
          name: 'cluster',
          kind: 'postgres-physical',
          ...more,
          connection: {
            host: '127.0.0.1',
            port: server.port,
            user: replicator,
            password: 'env:CLUSTER',
            ...((more.connection as object | undefined) ?? {}),
          },
        }),
        { resolveSecret: async () => secret },
      ),
    sql: (database, ...statements) => runSql(server.uri(database), ...statements),
    async restart(meanwhile) {
      await server.stop();
      meanwhile?.(server.dataDir);
      server = await start();
    },
    async remove() {
      await server.destroy();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  await cluster.sql(
    'postgres',
    `CREATE ROLE ${replicator} REPLICATION LOGIN PASSWORD '${password.replace("'", "''")}'`,
  );
  return cluster;
}

/** Databases, a tablespace, an index, a large object, something unlogged, and names that are hard to write. */
export async function fillCluster(cluster: Cluster): Promise<void> {
  await cluster.sql(
    'postgres',
    'CREATE DATABASE "Shop é"',
    `CREATE TABLESPACE fast LOCATION '${cluster.tablespace}'`,
    'CREATE DATABASE archive TABLESPACE fast',
  );
  await cluster.sql(
    'Shop é',
    `CREATE TABLE goods AS SELECT i AS id, 'thing ' || i AS name, md5(i::text) AS code FROM generate_series(1, 20000) i`,
    'CREATE UNIQUE INDEX ON goods (id)',
    'CREATE INDEX ON goods (name) TABLESPACE fast',
    `CREATE TABLE elsewhere TABLESPACE fast AS SELECT id FROM goods WHERE id % 2 = 0`,
    'CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS a',
    `SELECT lo_from_bytea(0, decode(repeat('00ff5c27', 20000), 'hex'))`,
  );
  await cluster.sql('archive', 'CREATE TABLE old AS SELECT generate_series(1, 1000) AS id');
}

export async function runSql(uri: string, ...statements: string[]): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: uri });
  await client.connect();
  try {
    let rows: Record<string, unknown>[] = [];
    for (const statement of statements) rows = (await client.query(statement)).rows;
    return rows;
  } finally {
    await client.end();
  }
}

/** Starts a server on a restored data directory, on a port of its own, does something with it, and ends it. */
export async function withServer<T>(
  dataDir: string,
  binDir: string,
  body: (server: PostgresInstance) => Promise<T>,
): Promise<T> {
  const server = await createPostgresInstance({ dataDir, binDir, password, settings: { fsync: 'off' } });
  try {
    return await body(server);
  } finally {
    await server.stop();
  }
}

/** Asks for the rows of the largest table, in a number and a hash. */
export const allGoods = `SELECT count(*)::int AS n, sum(hashtextextended(g::text, 0))::text AS hash FROM goods g`;
