import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { createWalHostActivities, type StreamWalInput } from '../../activities/wal-host.ts';
import { createWalTransferActivities } from '../../activities/wal-transfer.ts';
import { createPostgresInstance, type PostgresInstance, unprivilegedUser } from '../../engine/sites/index.ts';
import { connect } from '../../engine/sources/postgres/connection.ts';
import { backupFailure } from '../../engine/sources/postgres-physical/failures.ts';
import { streamFailure } from '../../engine/sources/wal/failures.ts';
import { verifyWal } from '../../engine/sources/wal/verify.ts';
import { createDirectoryStore, type Store } from '../../engine/stores/index.ts';
import { Failure } from '../../policies/failure.ts';
import { policySchema } from '../../policies/policy.ts';
import { type Cluster, makeCluster, password, runSql, usePostgresBinDirs } from './source-physical-fixture.ts';
import { makeWalPlace, type WalPlace } from './wal-fixture.ts';

/** The steps of archiving as workers do them, on a real cluster, with what can go wrong. */

const { 15: binDir } = await usePostgresBinDirs();
const mib = 1024 * 1024;

let cluster: Cluster;
/** That of the cluster; another one after a crash. */
let server: PostgresInstance;
let wal: WalPlace;
let dir: string;
let port: number;
let stores: Record<'near' | 'far', Store>;
/** `far` does not take anything. */
let isFarAway: boolean;
let serial = 0;
/** What the coordinator was told of the server. */
let strains: string[];
/** The worker's, which remembers what it has told. */
let worked: { of: string; activities: ReturnType<typeof makeActivities> } | null = null;

beforeAll(async () => {
  cluster = await makeCluster(binDir, { max_wal_size: '64MB', min_wal_size: '32MB', max_replication_slots: '20' });
  server = cluster.server;
}, 120_000);
afterAll(async () => {
  await server?.stop();
  await cluster?.remove();
});
beforeEach(async () => {
  dir = path.join(cluster.dir, `place-${++serial}`);
  wal = await makeWalPlace(path.join(dir, 'keys'));
  for (const name of ['near', 'far']) mkdirSync(path.join(dir, name));
  const far = createDirectoryStore({ name: 'far', path: path.join(dir, 'far') });
  const away = new Failure('StoreUnreachable', 'far does not answer.', { next: 'Look.' });
  stores = {
    near: createDirectoryStore({ name: 'near', path: path.join(dir, 'near') }),
    far: { ...far, put: (...args) => (isFarAway ? Promise.reject(away) : far.put(...args)) },
  };
  isFarAway = false;
  strains = [];
  port = server.port;
});
afterEach(async () => {
  port = server.port;
  await run(activities().dropWalSlot, { source: `cluster-${serial}` });
});

function activities() {
  const of = `${serial} ${port}`;
  if (worked?.of !== of) worked = { of, activities: makeActivities() };
  return worked.activities;
}

/** A slot of its own for each test. */
function makeActivities() {
  const source = `cluster-${serial}`;
  const policy = policySchema.parse({
    version: 1,
    site: { region: 'here' },
    catalog: { dsn: 'env:DSN' },
    keys: { recipients: [wal.recipient], signing: 'env:SIGNING', trusted: wal.trusted, identity: 'env:IDENTITY' },
    staging: { path: path.join(dir, 'staging') },
    sources: [
      {
        name: source,
        kind: 'postgres-physical',
        connection: { host: '127.0.0.1', port, user: 'saver', password: 'env:X' },
        wal: { every: '1s', slotBytes: 64 * mib },
      },
    ],
    copies: ['near', 'far'].map((name) => ({ name, kind: 'directory', region: name, path: path.join(dir, name) })),
  });
  return {
    ...createWalHostActivities({
      policy,
      resolveSecret: async () => password,
      tellStrain: async ({ why }) => void strains.push(why === null ? 'over' : 'begins'),
      signingKey: async () => wal.signingKey,
      software: 'tests',
    }),
    ...createWalTransferActivities({ policy, store: async (name) => stores[name as 'near' | 'far'] }),
  };
}

/** What fails here is made to fail; tests look at it, people need not. */
const quiet = () => new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') });
const run = <A, R>(activity: (input: A) => Promise<R>, input: A, worker = quiet()): Promise<R> =>
  worker.run(activity, input) as Promise<R>;

/** A round of streaming, as the workflow has it done; by default until something was sealed. */
async function stream(more: Partial<StreamWalInput> = {}, worker?: MockActivityEnvironment) {
  const { findArchived, streamWal } = activities();
  const source = `cluster-${serial}`;
  const { archived } = await run(findArchived, { source });
  const input = {
    source,
    archived,
    anew: false,
    known: 'failing' as const,
    forMs: 600_000,
    patienceMs: 600_000,
    ...more,
  };
  return run(streamWal, input, worker);
}

/** Carries all that is staged; while a copy is away, until that is told. */
async function ship() {
  const forMs = isFarAway ? 60_000 : 500;
  for (;;) {
    const ended = await run(activities().shipWal, { source: `cluster-${serial}`, known: [], forMs, patienceMs: 500 });
    if (isFarAway || staged().length === 0) return ended;
  }
}

const sql = (...statements: string[]) => runSql(server.uri(), ...statements);
const write = (bytes: number) =>
  sql(`SELECT pg_logical_emit_message(true, 'x', repeat('y', ${mib})) FROM generate_series(1, ${bytes / mib})`);

const staged = () => {
  const folder = path.join(dir, 'staging', '.wal', `cluster-${serial}`, `cluster-${serial}`);
  return readdirSync(folder, { recursive: true }).filter((name) => String(name).endsWith('.wal'));
};

async function expectWhole(store: Store): Promise<void> {
  const report = await verifyWal({ store, source: `cluster-${serial}`, trusted: wal.trusted, identity: wal.identity });
  expect(report).toMatchObject({ gaps: [], problems: [] });
  expect(report.ranges).toBeGreaterThan(0);
}

describe('archiving', () => {
  test('on a quiet server proves that it works, and needs no segment to be full', async () => {
    expect(await stream()).toMatchObject({ state: 'well' });
    await ship();
    expect(staged()).toEqual([]);
    for (const store of Object.values(stores)) await expectWhole(store);
    const { archived } = await run(activities().findArchived, { source: `cluster-${serial}` });
    expect(archived?.systemIdentifier).toMatch(/^\d+$/);
  });

  test('waits with what a copy does not take, says so, and lets the other have it', async () => {
    isFarAway = true;
    await stream();
    expect(await ship()).toEqual({ copies: [{ copy: 'far', error: 'far does not answer.' }] });
    await expectWhole(stores.near);
    expect(staged().length).toBeGreaterThan(0);
    isFarAway = false;
    expect(await ship()).toEqual({ copies: [] });
    expect(staged()).toEqual([]);
    await expectWhole(stores.far);
  });

  test('goes on where the copies are when the staging disk was lost, for the server has kept the rest', async () => {
    await stream();
    await ship();
    await write(4 * mib);
    isFarAway = true;
    await stream();
    await ship();
    rmSync(path.join(dir, 'staging'), { recursive: true });
    isFarAway = false;
    await stream();
    await ship();
    for (const store of Object.values(stores)) await expectWhole(store);
  });

  test('that is killed with its worker goes on without a gap', async () => {
    await stream();
    const worker = quiet();
    const begun = once(worker, 'heartbeat');
    const killed = stream({ known: 'well' }, worker);
    killed.catch(() => {});
    await begun;
    await write(4 * mib);
    worker.cancel();
    await expect(killed).rejects.toThrow();
    await stream();
    await ship();
    for (const store of Object.values(stores)) await expectWhole(store);
  });

  test('of another cluster under the same name is refused', async () => {
    await stream();
    await ship();
    const other = await makeCluster(binDir);
    try {
      port = other.server.port;
      await expect(stream()).rejects.toMatchObject({
        type: 'SourceMissing',
        message: expect.stringContaining('the archived WAL is that of'),
      });
    } finally {
      await other.remove();
    }
  });
});

describe('a slot that has reached its limit', () => {
  test('is relieved by what is staged; once the copies have caught up, they count again', async () => {
    isFarAway = true;
    await stream();
    await write(80 * mib);
    const behind = await stream({ known: 'well' });
    expect(behind.state).toBe('behind');
    expect(behind.keptBytes).toBeGreaterThan(64 * mib);
    const relieved = await stream({ known: 'behind', forMs: 4_000 });
    expect(relieved.state).toBe('behind');
    // What waits on the staging disk now strains things no less.
    expect(strains).toEqual(['begins']);
    isFarAway = false;
    await ship();
    expect(await stream({ known: 'behind' })).toMatchObject({ state: 'well' });
    // The server hears a little later what it may forget.
    while (strains.length < 2) await stream({ known: 'well', forMs: 1_000 });
    expect(strains).toEqual(['begins', 'over']);
    for (const store of Object.values(stores)) await expectWhole(store);
  });

  test('is given up while nothing is archived; what is lost then is found, and archiving begins anew behind it', async () => {
    const { guardWalSlot } = activities();
    const source = `cluster-${serial}`;
    await stream();
    await ship();
    expect(await run(guardWalSlot, { source })).toMatchObject({ dropped: false });
    await write(160 * mib);
    expect(await run(guardWalSlot, { source })).toMatchObject({ dropped: true });
    for (let i = 0; i < 3; i++) await sql('SELECT pg_switch_wal()', 'CHECKPOINT');
    await write(48 * mib);
    await sql('CHECKPOINT');
    await expect(stream()).rejects.toMatchObject({ type: 'ChainBroken' });
    expect(await stream({ anew: true })).toMatchObject({ state: 'well' });
    await ship();
    const { gaps } = await run(activities().findArchived, { source });
    expect(gaps.map((g) => g.copy).sort()).toEqual(['far', 'near']);
  });
});

describe('the server', () => {
  test('that is killed is missed at once; when it is there again, nothing is missing', async () => {
    await stream();
    const worker = quiet();
    const begun = once(worker, 'heartbeat');
    const cut = stream({ known: 'well' }, worker);
    cut.catch(() => {});
    await begun;
    await write(4 * mib);
    process.kill(server.pid, 'SIGKILL');
    await expect(cut).rejects.toMatchObject({ type: expect.stringMatching(/^Source(Unreachable|Failed)$/) });
    await server.ended;
    const { dataDir } = server;
    const again = await createPostgresInstance({ dataDir, binDir, password, port, settings: { fsync: 'off' } });
    server = again;
    port = again.port;
    await sql('CREATE TABLE after_the_crash AS SELECT 1 AS n');
    await stream();
    await ship();
    for (const store of Object.values(stores)) await expectWhole(store);
  });

  test('that ends a session while nothing is asked in it is named once something is', async () => {
    const who = { database: 'postgres', user: 'postgres', password };
    const connection = { host: '127.0.0.1', port, ...who, sslmode: 'disable' as const };
    const client = await connect(connection, 'cluster');
    const [row] = (await client.query('SELECT pg_backend_pid() AS pid')).rows;
    const ended = new Promise((resolve) => client.once('end', resolve));
    await sql(`SELECT pg_terminate_backend(${row.pid})`);
    await ended;
    const error: unknown = await client.query('SELECT 1').catch((failed: unknown) => failed);
    expect(streamFailure(error, connection, 'cluster')).toMatchObject({ type: 'SourceUnreachable' });
    expect(backupFailure(error, connection, 'cluster')).toMatchObject({ type: 'SourceUnreachable' });
  });

  test('whose standby takes its place is followed onto the new timeline', async () => {
    const dataDir = path.join(dir, 'standby');
    const primary = `host=127.0.0.1 port=${port} user=postgres`;
    execFileSync(
      path.join(binDir, 'pg_basebackup'),
      ['-D', dataDir, '-R', '-c', 'fast', '-X', 'stream', '-d', primary],
      {
        env: { PATH: process.env.PATH, PGPASSWORD: password },
      },
    );
    const user = await unprivilegedUser();
    if (user) execFileSync('chown', ['-R', `${user.uid}:${user.gid}`, dataDir]);
    let standby: PostgresInstance | null = null;
    try {
      standby = await createPostgresInstance({ dataDir, binDir, password, settings: { fsync: 'off' } });
      await stream();
      await ship();
      const [row] = await sql(
        'CREATE TABLE last_words AS SELECT 1 AS n',
        'SELECT pg_current_wal_flush_lsn()::text AS lsn',
      );
      const replayed = `SELECT pg_last_wal_replay_lsn() >= '${row?.lsn}' AS done`;
      while (!(await runSql(standby.uri(), replayed))[0]?.done) await setTimeout(50);
      await run(activities().dropWalSlot, { source: `cluster-${serial}` });
      port = standby.port;
      await runSql(standby.uri(), 'SELECT pg_promote()');
      await stream();
      await runSql(standby.uri(), 'CREATE TABLE first_words AS SELECT 1 AS n');
      await stream();
      await ship();
      for (const store of Object.values(stores)) await expectWhole(store);
      const { archived, gaps } = await run(activities().findArchived, { source: `cluster-${serial}` });
      expect([archived?.timeline, gaps]).toEqual([2, []]);
    } finally {
      await standby?.stop();
    }
  });
});
