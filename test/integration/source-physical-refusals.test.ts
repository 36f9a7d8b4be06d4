import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { ArtifactWriter } from '../../engine/artifact/index.ts';
import { Failure } from '../../policies/failure.ts';
import { pointPrefix } from '../../policies/recovery-point.ts';
import { makePlace, type Place } from '../engine/artifact/sealing.ts';
import { sealSource } from '../engine/sources/conformance.ts';
import { fakePostgres } from '../support/fake-postgres.ts';
import { type Cluster, fillCluster, makeCluster, password, usePostgresBinDirs } from './source-physical-fixture.ts';

const binDirs = await usePostgresBinDirs();
const both = process.env.PG_BIN_DIRS;

let place: Place;
let cluster: Cluster;
beforeAll(async () => {
  place = await makePlace();
  cluster = await makeCluster(binDirs[15], { max_wal_senders: '2', max_replication_slots: '1' });
  await fillCluster(cluster);
  await cluster.sql('postgres', `CREATE ROLE clerk LOGIN PASSWORD '${password.replace("'", "''")}'`);
});
afterAll(async () => {
  await cluster.remove();
  await place.remove();
});
afterEach(() => {
  process.env.PG_BIN_DIRS = both;
});

const signal = new AbortController().signal;
const onProgress = () => {};

async function refusal(promise: Promise<unknown>): Promise<Failure> {
  const error = await promise.then(
    () => new Error('it was expected to fail, and did not'),
    (e: unknown) => e,
  );
  if (!(error instanceof Failure)) throw error;
  expect(error.next).not.toBe('');
  expect(JSON.stringify([error.message, error.next, error.details, String(error.cause)])).not.toContain(password);
  return error;
}

/** WAL senders and replication slots that the server has at this moment, once those that end have ended. */
async function atWork(): Promise<number> {
  const ask = async () => {
    const [row] = await cluster.sql(
      'postgres',
      `SELECT (SELECT count(*) FROM pg_stat_replication)::int + (SELECT count(*) FROM pg_replication_slots)::int AS n`,
    );
    return Number(row?.n);
  };
  for (let tries = 0; tries < 600 && (await ask()) > 0; tries++) await setTimeout(100);
  return ask();
}

/** What lies where the last point was to be sealed. */
function leftovers(): string[] {
  const dir = path.join(place.dir, pointPrefix('cluster', ''));
  return readdirSync(dir).flatMap((id) => (id === '' ? [] : readdirSync(path.join(dir, id))));
}

/** A writer that does something before a certain frame, and then goes on. */
function atFrame(which: number, happens: () => Promise<unknown>): (writer: ArtifactWriter) => ArtifactWriter {
  let seen = 0;
  return (writer) => ({
    ...writer,
    async frame(pieces) {
      if (++seen === which) await happens();
      return writer.frame(pieces);
    },
  });
}

describe('a cluster that cannot be backed up is refused by name and reason', () => {
  test('wrong password', async () => {
    const error = await refusal(cluster.source({}, 'wrong').probe());
    expect(error).toMatchObject({ type: 'SourceAuthentication', retryable: false });
    expect(error.message).toContain('user "saver"');
  });

  test('no line for replication in pg_hba.conf', async () => {
    const file = path.join(cluster.server.dataDir, 'pg_hba.conf');
    const lines = readFileSync(file, 'utf8');
    writeFileSync(file, `host replication saver 127.0.0.1/32 reject\n${lines}`);
    await cluster.sql('postgres', 'SELECT pg_reload_conf()');
    try {
      // The server reads its files again in its own time.
      const refused = () =>
        cluster
          .source()
          .probe()
          .then(
            () => null,
            (error: unknown) => error,
          );
      let error = await refused();
      for (let tries = 0; tries < 600 && error === null; tries++) {
        await setTimeout(100);
        error = await refused();
      }
      expect(error).toMatchObject({
        type: 'SourceAuthentication',
        retryable: false,
        message: expect.stringContaining('no replication connection'),
        next: expect.stringContaining('host replication saver'),
      });
    } finally {
      writeFileSync(file, lines);
      await cluster.sql('postgres', 'SELECT pg_reload_conf()');
    }
  });

  test('a role without the right to replicate', async () => {
    const error = await refusal(cluster.source({ connection: { user: 'clerk' } }).probe());
    expect(error).toMatchObject({ type: 'SourceAuthentication', retryable: false });
    expect(error.next).toContain('ALTER ROLE "clerk" REPLICATION');
  });

  test('unreachable host', async () => {
    const error = await refusal(cluster.source({ connection: { port: 1 } }).probe());
    expect(error).toMatchObject({ type: 'SourceUnreachable', retryable: true });
    expect(error.message).toContain('127.0.0.1:1');
  });

  test('server programs missing, too old, and too new', async () => {
    process.env.PG_BIN_DIRS = path.join(cluster.dir, 'nowhere');
    const missing = await refusal(cluster.source().probe());
    expect(missing).toMatchObject({ type: 'ClientToolMissing', retryable: false });
    expect(missing.message).toContain('pg_verifybackup');
    process.env.PG_BIN_DIRS = binDirs[18];
    const tooNew = await refusal(cluster.source().probe());
    expect(tooNew).toMatchObject({ type: 'ClientToolMissing', retryable: false });
    expect(`${tooNew.message} ${tooNew.next}`).toMatch(/PostgreSQL 15.*version 18.*postgresql-15/);
    process.env.PG_BIN_DIRS = binDirs[15];
    const future = await fakePostgres({ server_version_num: '990001', server_version: '99.1' });
    const tooOld = await refusal(cluster.source({ connection: { port: future.port } }).probe());
    future.close();
    expect(tooOld).toMatchObject({ type: 'ServerTooNew', retryable: false });
    expect(`${tooOld.message} ${tooOld.next}`).toMatch(/PostgreSQL 99.*version 15.*postgresql-99/);
  });

  test('a server older than the command that is spoken', async () => {
    const old = await fakePostgres({ server_version_num: '140009', server_version: '14.9' });
    const error = await refusal(cluster.source({ connection: { port: old.port } }).probe());
    old.close();
    expect(error).toMatchObject({ type: 'ServerTooOld', retryable: false });
    expect(error.message).toContain('14.9');
  });

  test('every WAL sender taken; then it may be tried again', async () => {
    const { Client } = (await import('pg')).default;
    const config = { connectionString: cluster.server.uri(), replication: 'true' };
    const others = [new Client(config), new Client(config)];
    for (const other of others) await other.connect();
    try {
      const error = await refusal(cluster.source().probe());
      expect(error).toMatchObject({ type: 'SourceUnreachable', retryable: true });
      expect(error.message).toMatch(/all 2 of max_wal_senders are taken/);
    } finally {
      for (const other of others) await other.end();
    }
  });

  test('too little WAL', async () => {
    const minimal = await makeCluster(binDirs[15], { wal_level: 'minimal', max_wal_senders: '0' });
    const error = await refusal(minimal.source().probe());
    await minimal.remove();
    expect(error).toMatchObject({ type: 'SourceUnreadable', retryable: false });
    expect(`${error.message} ${error.next}`).toMatch(/wal_level = minimal.*wal_level = replica/);
  });
});

describe('a base backup', () => {
  test('goes on without a replication slot when none is free, and tells', async () => {
    await cluster.sql('postgres', `SELECT pg_create_physical_replication_slot('taken')`);
    const { result } = await sealSource(place, cluster.source());
    await cluster.sql('postgres', `SELECT pg_drop_replication_slot('taken')`);
    expect(result.warnings).toEqual([expect.stringMatching(/could not be made to keep its WAL.*slot/)]);
  });

  test('that the server ends midway may be tried again, and leaves nothing', async () => {
    const end = () => cluster.sql('postgres', 'SELECT pg_terminate_backend(pid) FROM pg_stat_replication');
    const error = await refusal(sealSource(place, cluster.source(), signal, atFrame(3, end)));
    expect(error).toMatchObject({ type: 'SourceUnreachable', retryable: true });
    expect(await atWork()).toBe(0);
    expect(readdirSync(place.dir).filter((name) => name.startsWith('scratch'))).toEqual([]);
  });

  test('that is aborted midway ends at the server, too, and leaves nothing', async () => {
    const controller = new AbortController();
    const before = leftovers().length;
    const abort = async () => controller.abort(new Error('enough'));
    await expect(sealSource(place, cluster.source(), controller.signal, atFrame(3, abort))).rejects.toThrow('enough');
    expect(await atWork()).toBe(0);
    expect(leftovers()).toHaveLength(before);
  });

  test('whose staging disk is full says that, and ends at the server', async () => {
    const full = async () => {
      throw new Failure('StagingFull', 'no space', { next: 'Free some.' });
    };
    expect(await refusal(sealSource(place, cluster.source(), signal, atFrame(3, full)))).toMatchObject({
      type: 'StagingFull',
    });
    expect(await atWork()).toBe(0);
  });
});

describe('a page that does not match its checksum', () => {
  beforeAll(async () => {
    await cluster.sql('Shop é', 'CREATE TABLE broken AS SELECT i FROM generate_series(1, 10000) i', 'CHECKPOINT');
    const [row] = await cluster.sql('Shop é', `SELECT pg_relation_filepath('broken') AS file`);
    const fd = openSync(path.join(cluster.server.dataDir, String(row?.file)), 'r+');
    for (const page of [1, 3]) writeSync(fd, Buffer.from('damage'), 0, 6, page * 8192 + 5000);
    closeSync(fd);
  });

  test('refuses the backup, naming file and pages', async () => {
    const error = await refusal(sealSource(place, cluster.source()));
    expect(error).toMatchObject({ type: 'SourceDamaged', retryable: false, details: { damagedPages: 2 } });
    expect(error.message).toMatch(/2 pages do not match.*base\/\d+\/\d+.*block 1/);
    expect(error.next).toContain('onDamage: warn');
  });

  test('is told and taken along where the policy says so; the test restore tells it again', async () => {
    const sealed = await sealSource(place, cluster.source({ onDamage: 'warn' }));
    expect(sealed.point.facts.damagedPages).toBe(2);
    expect(sealed.result.warnings.join('\n')).toMatch(/block 1.*\n.*block 3/);
    const workDir = path.join(place.dir, 'work-damaged');
    mkdirSync(workDir);
    const checks = await cluster.source().testRestore(sealed.reader, { workDir, signal, onProgress });
    expect(checks).toMatchObject([
      { check: 'restore_test', passed: true },
      {
        check: 'content',
        passed: true,
        details: expect.stringMatching(/damaged as the source was.*of which the source had 2 damaged/),
      },
    ]);
  });
});
