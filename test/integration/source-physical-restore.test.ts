import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openPoint } from '../../engine/artifact/index.ts';
import { keepRestored } from '../../engine/sources/index.ts';
import { testRestoreCluster } from '../../engine/sources/postgres-physical/test-restore.ts';
import type { Store } from '../../engine/stores/index.ts';
import { artifactNames } from '../../policies/recovery-point.ts';
import { failureOf, makePlace, type Place } from '../engine/artifact/sealing.ts';
import { type SealedSource, sealSource } from '../engine/sources/conformance.ts';
import {
  allGoods,
  type Cluster,
  fillCluster,
  makeCluster,
  password,
  runSql,
  usePostgresBinDirs,
  withServer,
} from './source-physical-fixture.ts';

const binDirs = await usePostgresBinDirs();
const signal = new AbortController().signal;
const onProgress = () => {};

let place: Place;
/** One of each version, filled and sealed. */
const sources: Record<string, { cluster: Cluster; sealed: SealedSource }> = {};
beforeAll(async () => {
  place = await makePlace();
  for (const [version, binDir] of Object.entries(binDirs)) {
    const cluster = await makeCluster(binDir);
    await fillCluster(cluster);
    sources[version] = { cluster, sealed: await sealSource(place, cluster.source()) };
  }
});
afterAll(async () => {
  for (const { cluster } of Object.values(sources)) await cluster.remove();
  await place.remove();
});

function sourceOf(version: string): { cluster: Cluster; sealed: SealedSource } {
  const found = sources[version];
  if (!found) throw new Error(`no cluster of PostgreSQL ${version} was made`);
  return found;
}

describe.each(Object.entries(binDirs))('a cluster of PostgreSQL %s', (version, binDir) => {
  let cluster: Cluster;
  let sealed: SealedSource;
  beforeAll(() => {
    ({ cluster, sealed } = sourceOf(version));
  });

  const target = () => path.join(mkdtempSync(path.join(cluster.dir, 'target-')), 'data');

  test('says where it stood, when, and of what it is', async () => {
    const { facts } = sealed.point;
    const [row] = await cluster.sql('postgres', 'SELECT system_identifier::text AS id FROM pg_control_system()');
    expect(facts).toMatchObject({
      serverMajor: Number(version),
      systemIdentifier: row?.id,
      timeline: 1,
      standby: false,
      dataChecksums: true,
      damagedPages: 0,
      startLsn: expect.stringMatching(/^[0-9A-F]+\/[0-9A-F]+$/),
      endLsn: expect.stringMatching(/^[0-9A-F]+\/[0-9A-F]+$/),
    });
    expect(JSON.parse(String(facts.tablespaces))).toEqual([
      { oid: expect.stringMatching(/^\d+$/), location: cluster.tablespace },
    ]);
    expect(sealed.result.warnings).toEqual([]);
  });

  test('comes back on another path and port, tablespaces below it, and starts with every row', async () => {
    const into = target();
    const { warnings } = await cluster.source().restore(sealed.reader, { into, signal, onProgress });
    const [oid] = readdirSync(path.join(into, 'pg_tblspc'));
    const link = readlinkSync(path.join(into, 'pg_tblspc', oid ?? ''));
    expect(link).toBe(path.join(into, 'tablespaces', oid ?? ''));
    expect(warnings).toEqual([`the tablespace that lay in ${cluster.tablespace} now lies in ${link}`]);
    expect(lstatSync(into).mode & 0o777).toBe(0o700);
    expect((await cluster.source().compare(sealed.reader, into, signal)).differences).toEqual([]);
    await withServer(into, binDir, async (server) => {
      expect(await runSql(server.uri('Shop é'), allGoods)).toEqual(await cluster.sql('Shop é', allGoods));
      expect(await runSql(server.uri('Shop é'), 'SELECT count(*)::int AS n FROM elsewhere')).toEqual([{ n: 10_000 }]);
      expect(await runSql(server.uri('archive'), 'SELECT count(*)::int AS n FROM old')).toEqual([{ n: 1000 }]);
      const uri = server.uri();
      execFileSync(
        path.join(binDir, 'pg_amcheck'),
        ['--all', '--install-missing', '--heapallindexed', `--maintenance-db=${uri}`],
        {
          env: {
            PATH: process.env.PATH,
            PGPASSWORD: password,
            PGHOST: server.host,
            PGPORT: String(server.port),
            PGUSER: server.user,
          },
        },
      );
    });
  });

  test('comes back with its tablespaces where they are wanted', async () => {
    const into = target();
    const elsewhere = path.join(path.dirname(into), 'other disk');
    await cluster
      .source()
      .restore(sealed.reader, { into, tablespaces: { [cluster.tablespace]: elsewhere }, signal, onProgress });
    const [oid] = readdirSync(path.join(into, 'pg_tblspc'));
    expect(readlinkSync(path.join(into, 'pg_tblspc', oid ?? ''))).toBe(elsewhere);
    expect(existsSync(path.join(into, 'tablespaces'))).toBe(false);
    await withServer(into, binDir, async (server) => {
      expect(await runSql(server.uri('archive'), 'SELECT count(*)::int AS n FROM old')).toEqual([{ n: 1000 }]);
    });
  });

  test('is proven by a test restore, in numbers', async () => {
    const workDir = mkdtempSync(path.join(cluster.dir, 'work-'));
    const [restored, content] = await cluster.source().testRestore(sealed.reader, { workDir, signal, onProgress });
    expect(restored?.details).toMatch(
      new RegExp(
        `^\\d+(\\.\\d+)? MiB in [\\d,]+ entries restored, verified by pg_verifybackup, and recovered to [0-9A-F]+/[0-9A-F]+ by an isolated PostgreSQL ${version}$`,
      ),
    );
    expect(content?.details).toMatch(
      /^4 databases, 4 tables, 31,000 rows read; pg_amcheck found nothing; the checksums of [\d,]+ pages match$/,
    );
  });
});

describe('a test restore', () => {
  let cluster: Cluster;
  let sealed: SealedSource;
  beforeAll(() => {
    ({ cluster, sealed } = sourceOf('15'));
  });

  const tried = async (from: SealedSource, beforeStart?: (dataDir: string) => Promise<void>) => {
    const workDir = mkdtempSync(path.join(cluster.dir, 'work-'));
    const checks = await testRestoreCluster(from.reader, {
      workDir,
      signal,
      onProgress,
      ...(beforeStart ? { beforeStart } : {}),
    });
    expect(readdirSync(workDir)).toEqual([]);
    return checks;
  };

  test('asks for none of the roles, passwords, databases, settings and libraries of the source', async () => {
    const own = await makeCluster(binDirs[15], { archive_mode: 'on', archive_command: 'exit 1' });
    await own.sql(
      'template1',
      `CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'boss'`,
      'CREATE DATABASE "Only One"',
      `ALTER SYSTEM SET shared_preload_libraries = 'no_such_library'`,
      `ALTER SYSTEM SET log_destination = 'syslog'`,
      'ALTER DATABASE "Only One" SET default_transaction_read_only = on',
      'ALTER DATABASE template1 SET default_transaction_read_only = on',
      'ALTER DATABASE template1 SET statement_timeout = 1',
    );
    const { host, port } = own.server;
    await runSql(
      `postgresql://boss:boss@${host}:${port}/Only%20One?options=-c%20default_transaction_read_only%3Doff`,
      'DROP DATABASE postgres WITH (FORCE)',
      'ALTER ROLE postgres RENAME TO nobody',
      'ALTER ROLE nobody NOLOGIN',
    );
    const checks = await tried(await sealSource(place, own.source()));
    await own.remove();
    expect(checks).toMatchObject([
      { check: 'restore_test', passed: true },
      { check: 'content', passed: true, details: expect.stringMatching(/^2 databases/) },
    ]);
  });

  test('names the file that was altered, is missing, or does not belong there', async () => {
    const [failed, ...others] = await tried(sealed, async (dataDir) => {
      writeFileSync(path.join(dataDir, 'PG_VERSION'), '99\n');
      rmSync(path.join(dataDir, 'pg_ident.conf'));
      writeFileSync(path.join(dataDir, 'stranger'), 'x');
    });
    expect(others).toEqual([]);
    expect(failed).toMatchObject({ check: 'restore_test', passed: false });
    for (const name of ['PG_VERSION', 'pg_ident.conf', 'stranger']) expect(failed?.error).toContain(name);
  });

  test('fails when the WAL that makes the cluster consistent is not there', async () => {
    const [failed] = await tried(sealed, async (dataDir) => {
      for (const name of readdirSync(path.join(dataDir, 'pg_wal'))) {
        if (/^[0-9A-F]{24}$/.test(name)) rmSync(path.join(dataDir, 'pg_wal', name));
      }
    });
    expect(failed).toMatchObject({ passed: false, error: expect.stringMatching(/WAL/) });
  });
});

describe('a place to restore into', () => {
  let cluster: Cluster;
  let sealed: SealedSource;
  beforeAll(() => {
    ({ cluster, sealed } = sourceOf('15'));
  });

  test('is unmarked with its tablespaces, wherever they are, once the restore is kept, and not before', async () => {
    const into = path.join(cluster.dir, 'job', 'data');
    const fast = path.join(cluster.dir, 'job', 'fast');
    const restore = (job: string) =>
      cluster
        .source()
        .restore(sealed.reader, { into, tablespaces: { [cluster.tablespace]: fast }, job, signal, onProgress });
    const marked = () =>
      [into, fast].map((folder) => readdirSync(folder).filter((name) => name.startsWith('.restoring-')).length);
    const said = await restore('a');
    expect(said.warnings).toEqual([`the tablespace that lay in ${cluster.tablespace} now lies in ${fast}`]);
    expect(await restore('a')).toEqual(said);
    expect(marked()).toEqual([1, 1]);
    await keepRestored(into, 'a');
    expect(marked()).toEqual([0, 0]);
    expect(await failureOf(restore('a'))).toMatchObject({ type: 'TargetNotEmpty' });
    rmSync(path.join(cluster.dir, 'job'), { recursive: true });
  });

  const refused = (options: { tablespaces?: Record<string, string>; paths?: string[]; into?: string }) =>
    failureOf(
      cluster
        .source()
        .restore(sealed.reader, { into: path.join(cluster.dir, 'refused'), ...options, signal, onProgress }),
    );

  test('for a tablespace must be empty; then nothing is written at all', async () => {
    const taken = path.join(cluster.dir, 'taken');
    mkdirSync(taken);
    writeFileSync(path.join(taken, 'precious'), 'x');
    const failure = await refused({ tablespaces: { [cluster.tablespace]: taken } });
    expect(failure).toMatchObject({ type: 'TargetNotEmpty', message: expect.stringContaining('precious') });
    expect(readFileSync(path.join(taken, 'precious'), 'utf8')).toBe('x');
    expect(existsSync(path.join(cluster.dir, 'refused'))).toBe(false);
  });

  test('is for a tablespace that the point has, absolute, and its own', async () => {
    expect(await refused({ tablespaces: { '/nowhere': '/tmp/x' } })).toMatchObject({
      type: 'UsageInvalid',
      message: expect.stringContaining('/nowhere'),
    });
    expect(await refused({ tablespaces: { [cluster.tablespace]: 'x' } })).toMatchObject({ type: 'UsageInvalid' });
    expect(await refused({ tablespaces: { [cluster.tablespace]: path.join(cluster.dir, 'refused') } })).toMatchObject({
      type: 'UsageInvalid',
    });
  });

  test('takes a cluster whole', async () => {
    expect(await refused({ paths: ['base/*'] })).toMatchObject({ type: 'UsageInvalid' });
  });
});

describe('a large cluster in a distant store', () => {
  test('is restored by few large reads, whatever the number of its files', async () => {
    const cluster = await makeCluster(binDirs[15]);
    await cluster.sql(
      'postgres',
      'CREATE TABLE noise (id int, data bytea)',
      'ALTER TABLE noise ALTER data SET STORAGE EXTERNAL',
      `INSERT INTO noise SELECT i, (SELECT string_agg(decode(md5(i || '-' || j), 'hex'), '') FROM generate_series(1, 2000) j) FROM generate_series(1, 2000) i`,
      `SELECT format('CREATE TABLE small_%s AS SELECT %s AS n', i, i) FROM generate_series(1, 500) i`,
    );
    const statements = Array.from({ length: 500 }, (_, i) => `CREATE TABLE small_${i} AS SELECT ${i} AS n`);
    await cluster.sql('postgres', ...statements);
    const { point } = await sealSource(place, cluster.source());
    let gets = 0;
    let ofArtifact = 0;
    const counting: Store = {
      ...place.store,
      get: (key, ...more) => {
        gets++;
        if (key.endsWith(artifactNames['pax-tar'])) ofArtifact++;
        return place.store.get(key, ...more);
      },
    };
    const reader = await openPoint({
      store: counting,
      source: 'cluster',
      id: point.id,
      identity: place.identity,
      sealed: true,
    });
    await cluster.source().restore(reader, { into: path.join(cluster.dir, 'restored'), signal, onProgress });
    await cluster.remove();
    const stored = point.objects.reduce((sum, o) => sum + o.bytes, 0);
    expect(stored).toBeGreaterThan(64 * 1024 * 1024);
    const unit = 8 * 1024 * 1024;
    expect(gets).toBeLessThanOrEqual(stored / unit + 20);
    // Its header takes one; that the rest stays within the measure shows that it does so for any size.
    expect(ofArtifact - 1).toBeLessThanOrEqual(stored / unit);
  });
});
