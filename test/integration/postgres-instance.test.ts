import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createPostgresInstance, findPostgresBinaries, reapInstances } from '../../engine/sites/index.ts';
import { serverOf } from '../../engine/sites/postgres-leftovers.ts';
import { isFailure } from '../../policies/failure.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'pg-instance-'));
});
afterEach(async () => {
  await reapInstances(root);
  rmSync(root, { recursive: true, force: true });
});

async function ask(uri: string, sql: string): Promise<string> {
  const client = new pg.Client({ connectionString: uri });
  await client.connect();
  try {
    const { rows } = await client.query({ text: sql, rowMode: 'array' });
    return String(rows[0]?.[0]);
  } finally {
    await client.end();
  }
}

/** A process of its own that makes an instance, says so, and waits. */
async function ownerOf(dataDir: string): Promise<ChildProcess> {
  const module = path.resolve('engine/sites/index.ts');
  const code = `const { createPostgresInstance } = await import(${JSON.stringify(module)});
    await createPostgresInstance({ dataDir: ${JSON.stringify(dataDir)} });
    console.log('ready'); setInterval(() => {}, 1000);`;
  const owner = spawn(process.execPath, ['--input-type=module-typescript', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  await new Promise<void>((resolve, reject) => {
    owner.stdout?.once('data', () => resolve());
    owner.once('exit', (code) => reject(new Error(`the owner ended with ${code}`)));
  });
  return owner;
}

describe('a PostgreSQL instance of our own', () => {
  test('answers on 127.0.0.1 with checksums and UTF8, keeps its data over a stop, and leaves nothing when destroyed', async () => {
    const dataDir = path.join(root, 'closed', 'pg');
    const first = await createPostgresInstance({
      dataDir,
      settings: { work_mem: '5MB' },
    });
    expect(await ask(first.uri(), 'SHOW data_checksums')).toBe('on');
    expect(await ask(first.uri(), 'SHOW server_encoding')).toBe('UTF8');
    expect(await ask(first.uri(), 'SHOW work_mem')).toBe('5MB');
    expect(await ask(first.uri(), 'SHOW listen_addresses')).toBe('127.0.0.1');
    expect(await ask(first.uri(), 'SHOW fsync')).toBe('on');
    await ask(first.uri(), 'CREATE DATABASE kept');
    await first.stop();
    await first.stop();
    const second = await createPostgresInstance({ dataDir, port: first.port });
    expect(second.port).toBe(first.port);
    expect(await ask(second.uri('kept'), 'SELECT current_database()')).toBe('kept');
    await second.destroy();
    await second.destroy();
    expect(readdirSync(path.join(root, 'closed'))).toEqual([]);
  });

  test('asks for its password', async () => {
    const instance = await createPostgresInstance({
      dataDir: path.join(root, 'pg'),
      password: 'se cret/@',
    });
    expect(await ask(instance.uri(), 'SELECT 1')).toBe('1');
    await expect(ask(`postgresql://postgres:wrong@127.0.0.1:${instance.port}/postgres`, 'SELECT 1')).rejects.toThrow(
      /password/,
    );
    expect(readdirSync(root).sort()).toEqual(['pg', 'pg.log']);
    await instance.destroy();
  });

  test('takes another port when the wanted one is in use', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as { port: number };
    const instance = await createPostgresInstance({
      dataDir: path.join(root, 'pg'),
      port,
    });
    expect(instance.port).not.toBe(port);
    await instance.destroy();
    other.close();
  });

  test('shows the end of the log when the server does not start', async () => {
    const start = createPostgresInstance({
      dataDir: path.join(root, 'pg'),
      settings: { shared_buffers: 'plenty' },
    });
    const error = await start.catch((e: unknown) => e);
    expect(isFailure(error, 'TargetUnusable')).toBe(true);
    expect(String(error)).toContain('shared_buffers');
  });

  test('refuses a folder with something else in it', async () => {
    writeFileSync(path.join(root, 'mine.txt'), 'mine');
    const error = await createPostgresInstance({ dataDir: root }).catch((e: unknown) => e);
    expect(isFailure(error, 'TargetUnusable')).toBe(true);
    expect(readdirSync(root)).toEqual(['mine.txt']);
    expect(statSync(path.join(root, 'mine.txt')).size).toBe(4);
  });

  test('refuses a folder on which a living process runs a server', async () => {
    const dataDir = path.join(root, 'pg');
    const instance = await createPostgresInstance({ dataDir });
    const error = await createPostgresInstance({ dataDir }).catch((e: unknown) => e);
    expect(String(error)).toContain(`Process ${process.pid} already runs`);
    expect(await ask(instance.uri(), 'SELECT 1')).toBe('1');
    await instance.destroy();
  });

  test('ends with an owner that is killed, and starts again on the same folder at once', async () => {
    const dataDir = path.join(root, 'pg');
    const owner = await ownerOf(dataDir);
    expect(await serverOf(dataDir)).not.toBeNull();
    owner.kill('SIGKILL');
    const again = await createPostgresInstance({ dataDir });
    expect(await ask(again.uri(), 'SELECT 1')).toBe('1');
    await again.destroy();
  });

  test('is ended and removed by a reaper when it was left behind', async () => {
    const dataDir = path.join(root, 'point', 'pg');
    const instance = await createPostgresInstance({ dataDir });
    await reapInstances(root);
    expect(await serverOf(dataDir)).toBeNull();
    expect(existsSync(dataDir)).toBe(false);
    await expect(ask(instance.uri(), 'SELECT 1')).rejects.toThrow();
    await setTimeout(0);
    await instance.stop();
  });
});

describe('looking for PostgreSQL', () => {
  const before = process.env.PG_BIN_DIRS;
  afterEach(() => {
    if (before === undefined) delete process.env.PG_BIN_DIRS;
    else process.env.PG_BIN_DIRS = before;
  });

  /** A folder whose pg_dump says it has this version. */
  function fake(major: number): string {
    const dir = mkdtempSync(path.join(root, `bin${major}-`));
    writeFileSync(path.join(dir, 'pg_dump'), `#!/bin/sh\necho 'pg_dump (PostgreSQL) ${major}.2 (Debian)'\n`, {
      mode: 0o755,
    });
    return dir;
  }

  test('takes the newest, or the nearest that is not older than what is asked for', async () => {
    const [v14, v18, v16] = [fake(14), fake(18), fake(16)];
    process.env.PG_BIN_DIRS = `${v14}:${v18}:${v16}`;
    expect(await findPostgresBinaries(['pg_dump'])).toEqual({
      binDir: v18,
      major: 18,
    });
    expect(await findPostgresBinaries(['pg_dump'], 15)).toEqual({
      binDir: v16,
      major: 16,
    });
    expect(await findPostgresBinaries(['pg_dump'], 14)).toEqual({
      binDir: v14,
      major: 14,
    });
  });

  test('says what to install when there is none, or none new enough', async () => {
    process.env.PG_BIN_DIRS = `${root}/nowhere`;
    const none = await findPostgresBinaries(['pg_dump', 'pg_restore']).catch((e: unknown) => e);
    expect(isFailure(none, 'ClientToolMissing') && `${none.message} ${none.next}`).toMatch(
      /pg_dump and pg_restore.*postgresql-client/,
    );
    process.env.PG_BIN_DIRS = fake(14);
    const old = await findPostgresBinaries(['pg_dump'], 17).catch((e: unknown) => e);
    expect(isFailure(old, 'ClientToolMissing') && `${old.message} ${old.next}`).toMatch(
      /17 or newer.*has version 14.*postgresql-client-17/s,
    );
  });
});
