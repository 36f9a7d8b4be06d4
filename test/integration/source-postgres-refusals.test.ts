import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createPostgresLogicalSource } from '../../engine/sources/index.ts';
import { Failure } from '../../policies/failure.ts';
import { artifactNames, pointPrefix } from '../../policies/recovery-point.ts';
import { fakePostgres } from '../support/fake-postgres.ts';
import { type Bench, makeBench } from './source-postgres-fixture.ts';

let bench: Bench;
beforeAll(async () => {
  bench = await makeBench();
  await bench.sql('postgres', 'CREATE DATABASE shop', `CREATE ROLE clerk LOGIN PASSWORD 'clerk'`);
  await bench.sql(
    'shop',
    'CREATE TABLE "Open" (id int)',
    'CREATE TABLE "Till" (id int)',
    `INSERT INTO "Till" SELECT generate_series(1, 200000)`,
    'GRANT SELECT ON "Open" TO clerk',
  );
});
afterAll(() => bench.remove());

const before = process.env.PG_BIN_DIRS;
afterEach(() => {
  if (before === undefined) delete process.env.PG_BIN_DIRS;
  else process.env.PG_BIN_DIRS = before;
});

const signal = new AbortController().signal;
const onProgress = () => {};

async function refusal(promise: Promise<unknown>): Promise<Failure> {
  const error = await promise.then(
    () => new Error('it was expected to fail, and did not'),
    (e: unknown) => e,
  );
  if (!(error instanceof Failure)) throw error;
  expect(JSON.stringify([error.message, error.next, error.details, String(error.cause)])).not.toContain(bench.password);
  return error;
}

/** Ours among the processes there are, by what their command line holds. */
function running(what: string): string[] {
  return execFileSync('ps', ['-eo', 'stat,args'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(what) && !line.startsWith('Z') && !line.includes('ps -eo'));
}

describe('a database that cannot be backed up is refused by name and reason', () => {
  test('wrong password', async () => {
    const source = createPostgresLogicalSource(bench.policy('shop'), { resolveSecret: async () => 'wrong' });
    const error = await refusal(source.probe());
    expect(error).toMatchObject({ type: 'SourceAuthentication', retryable: false });
    expect(error.message).toContain('user "postgres"');
  });

  test('no password where one is wanted', async () => {
    const policy = bench.policy('shop', { connection: { password: undefined } });
    const error = await refusal(createPostgresLogicalSource(policy, { resolveSecret: async () => '' }).probe());
    expect(error).toMatchObject({ type: 'SourceAuthentication' });
  });

  test('unknown user', async () => {
    const error = await refusal(bench.source('shop', { connection: { user: 'nobody' } }).probe());
    expect(error).toMatchObject({ type: 'SourceAuthentication', message: expect.anything() });
  });

  test('unreachable host', async () => {
    const error = await refusal(bench.source('shop', { connection: { port: 1 } }).probe());
    expect(error).toMatchObject({ type: 'SourceUnreachable', retryable: true });
    expect(error.message).toContain('127.0.0.1:1');
  });

  test('a name that does not resolve', async () => {
    const error = await refusal(bench.source('shop', { connection: { host: 'no-such-host.invalid' } }).probe());
    expect(error).toMatchObject({ type: 'SourceUnreachable', retryable: true });
  });

  test('TLS asked for, and not to be had', async () => {
    const error = await refusal(bench.source('shop', { connection: { sslmode: 'require' } }).probe());
    expect(error.message).toContain('SSL');
  });

  test('missing database, with the one that was probably meant', async () => {
    const error = await refusal(bench.source('shpo').probe());
    expect(error).toMatchObject({ type: 'SourceMissing', retryable: false });
    expect(error.message).toContain('Did you mean "shop"?');
    expect((await refusal(bench.source('warehouse').probe())).message).toContain('It has: postgres, shop.');
  });

  test('missing client tools', async () => {
    process.env.PG_BIN_DIRS = path.join(bench.dir, 'nowhere');
    const error = await refusal(bench.source('shop').probe());
    expect(error).toMatchObject({ type: 'ClientToolMissing', retryable: false });
    expect(`${error.message} ${error.next}`).toMatch(/pg_dump.*postgresql-client/);
  });

  test('server newer than the tools', async () => {
    const future = await fakePostgres({ server_version_num: '990001', server_version: '99.1' });
    const error = await refusal(bench.source('shop', { connection: { port: future.port } }).probe());
    future.close();
    expect(error).toMatchObject({ type: 'ServerTooNew', retryable: false });
    expect(`${error.message} ${error.next}`).toMatch(/PostgreSQL 99\.1.*version \d+.*postgresql-client-99/);
  });

  test('a table that may not be read', async () => {
    const source = createPostgresLogicalSource(bench.policy('shop', { connection: { user: 'clerk' } }), {
      resolveSecret: async () => 'clerk',
    });
    const error = await refusal(source.probe());
    expect(error).toMatchObject({ type: 'SourceUnreadable', retryable: false });
    expect(error.message).toContain('public."Till"');
    expect(error.message).not.toContain('Open');
    expect(error.next).toContain('pg_read_all_data');
  });

  test('a table of which only some rows may be read', async () => {
    await bench.sql('postgres', 'CREATE DATABASE rows');
    await bench.sql(
      'rows',
      'CREATE TABLE t (id int)',
      'ALTER TABLE t ENABLE ROW LEVEL SECURITY',
      'GRANT SELECT ON t TO clerk',
    );
    const source = createPostgresLogicalSource(bench.policy('rows', { connection: { user: 'clerk' } }), {
      resolveSecret: async () => 'clerk',
    });
    expect((await refusal(source.probe())).message).toContain('may not read every row of public.t');
  });

  test('roles are saved without their passwords for a user who may not read them', async () => {
    await bench.sql('postgres', `CREATE ROLE dumper LOGIN PASSWORD 'clerk'`);
    await bench.sql('shop', 'GRANT SELECT ON ALL TABLES IN SCHEMA public TO dumper');
    const source = createPostgresLogicalSource(bench.policy('shop', { connection: { user: 'dumper' } }), {
      resolveSecret: async () => 'clerk',
    });
    const sealed = await bench.seal(source);
    expect(sealed.warnings).toEqual(['roles were saved without their passwords, which user "dumper" may not read']);
    const globals = Buffer.concat(await sealed.reader.content('globals.sql').toArray()).toString();
    expect(globals).toContain('CREATE ROLE clerk');
    expect(globals).not.toContain('SCRAM-SHA-256');
  });
});

describe('a backup that is broken off', () => {
  test.each(['custom', 'directory'])(
    'leaves nothing staged and no pg_dump running when it is aborted (%s)',
    async (format) => {
      // A lock that pg_dump waits for.
      const abort = new AbortController();
      const blocker = lockTill();
      await blocker.locked;
      const sealing = bench.seal(bench.source('shop', { format }), abort.signal).catch((e: unknown) => e);
      await until(() => running('/pg_dump ').length > 0);
      expect(running(bench.password)).toEqual([]);
      abort.abort(new Error('enough'));
      expect(String(await sealing)).toContain('enough');
      await until(() => running('/pg_dump ').length === 0);
      await blocker.end();
      const staging = path.join(bench.dir, 'staging', 'shop');
      const last =
        readdirSync(staging)
          .sort((a, b) => Number(a.slice(5)) - Number(b.slice(5)))
          .at(-1) ?? '';
      expect(readdirSync(path.join(staging, last))).toEqual([]);
    },
  );

  test.each(['custom', 'directory'])('fails cleanly when its connection is cut by the server (%s)', async (format) => {
    const blocker = lockTill();
    await blocker.locked;
    const sealing = bench.seal(bench.source('shop', { format })).catch((e: unknown) => e);
    await until(() => running('/pg_dump ').length > 0);
    await until(async () => {
      const rows = await bench.sql(
        'postgres',
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'backup-coordinator' AND wait_event_type = 'Lock'`,
      );
      return rows.length > 0;
    });
    await blocker.end();
    const error = (await sealing) as Failure;
    expect(error).toMatchObject({ type: 'SourceFailed', retryable: true });
    expect(error.message).toMatch(/^pg_dump failed \(exit status 1\): .*terminating connection/);
  });

  function lockTill() {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let taken = () => {};
    const locked = new Promise<void>((resolve) => {
      taken = resolve;
    });
    const done = (async () => {
      const client = new pg.Client({ connectionString: bench.server.uri('shop') });
      await client.connect();
      await client.query('BEGIN; LOCK TABLE "Till" IN ACCESS EXCLUSIVE MODE');
      taken();
      await held;
      await client.end();
    })();
    return {
      locked,
      end: async () => {
        release();
        await done;
      },
    };
  }
});

/** Asks until it is so; the test's own time limit ends what never comes. */
async function until(so: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await so())) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe('a restore', () => {
  test('is refused for a database that is not there, a server that is away, and what is no URI', async () => {
    const { reader } = await bench.seal(bench.source('shop'));
    const source = bench.source('shop');
    const into = (uri: string) => refusal(source.restore(reader, { into: uri, signal, onProgress }));
    expect(await into(bench.server.uri('absent'))).toMatchObject({
      type: 'TargetUnusable',
      next: 'Create it first: createdb absent',
    });
    expect(await into('postgresql://postgres@127.0.0.1:1/x')).toMatchObject({ type: 'TargetUnusable' });
    expect(await into(`postgresql://postgres:${encodeURIComponent(bench.password)}@[::1/x`)).toMatchObject({
      type: 'UsageInvalid',
    });
    expect(await into('mysql://localhost/x')).toMatchObject({ type: 'UsageInvalid' });
  });

  test('is refused for a database with so much as a function in it', async () => {
    const { reader } = await bench.seal(bench.source('shop'));
    await bench.sql('postgres', 'CREATE DATABASE taken');
    await bench.sql('taken', 'CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$');
    const error = await refusal(
      bench.source('shop').restore(reader, { into: bench.server.uri('taken'), signal, onProgress }),
    );
    expect(error).toMatchObject({ type: 'TargetNotEmpty' });
    expect(error.message).toContain('it holds 1 thing (public.mine())');
  });

  test('leaves the database as empty as it was when the point is damaged', async () => {
    const { reader, point } = await bench.seal(bench.source('shop'));
    const file = path.join(bench.dir, 'staging', pointPrefix('shop', point.id), artifactNames.parts);
    const bytes = readFileSync(file);
    const at = bytes.length >> 1;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    await bench.sql('postgres', 'CREATE DATABASE target');
    const into = bench.server.uri('target');
    expect(await refusal(bench.source('shop').restore(reader, { into, signal, onProgress }))).toMatchObject({
      type: 'Corrupt',
    });
    expect(
      await bench.sql('target', `SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace`),
    ).toEqual([]);

    const workDir = mkdtempSync(path.join(bench.dir, 'work-'));
    const checks = await bench.source('shop').testRestore(await bench.open(point), { workDir, signal, onProgress });
    expect(checks).toMatchObject([{ check: 'restore_test', passed: false, error: expect.stringContaining('damaged') }]);
    expect(readdirSync(workDir)).toEqual([]);
    truncateSync(file, at);
  });

  test('gives everything to a user who is no superuser, and says so', async () => {
    const { reader } = await bench.seal(bench.source('shop'));
    await bench.sql('postgres', 'CREATE DATABASE clerks OWNER clerk');
    const into = `postgresql://clerk:clerk@127.0.0.1:${bench.server.port}/clerks`;
    const { warnings } = await bench.source('shop').restore(reader, { into, signal, onProgress });
    expect(warnings).toEqual([
      'owners and grants were left out, everything belongs to "clerk": "clerk" is no superuser',
    ]);
    expect(await bench.sql('clerks', `SELECT tableowner FROM pg_tables WHERE tablename = 'Till'`)).toEqual([
      { tableowner: 'clerk' },
    ]);
  });

  test('names the roles that the server lacks', async () => {
    await bench.sql('postgres', 'CREATE ROLE gone');
    const { reader } = await bench.seal(bench.source('shop'));
    await bench.sql('postgres', 'DROP ROLE gone', 'CREATE DATABASE roleless');
    const { warnings } = await bench
      .source('shop')
      .restore(reader, { into: bench.server.uri('roleless'), signal, onProgress });
    expect(warnings).toEqual([expect.stringContaining('the server has no role gone; globals.sql')]);
  });
});
