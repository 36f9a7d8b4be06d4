import { type ChildProcess, spawn } from 'node:child_process';
import { open, readFile, realpath, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import { Failure } from '../../policies/failure.ts';
import { freePort } from './ports.ts';
import { findPostgresBinaries } from './postgres-binaries.ts';
import { ensureCluster } from './postgres-initdb.ts';
import { endOrphan } from './postgres-leftovers.ts';
import { tied } from './tied.ts';
import type { PostgresInstance, PostgresInstanceOptions } from './types.ts';
import { type UnprivilegedUser, unprivilegedUser } from './unprivileged.ts';

export { reapInstances } from './postgres-leftovers.ts';

const startTimeoutMs = 60_000;
const startAttempts = 3;

/**
 * Makes (initdb) and starts a PostgreSQL server of our own on 127.0.0.1, without a socket file. It ends with this
 * process, also when that is killed. As root it runs as an unprivileged user, who is given the folder and the way to
 * it. Throws ClientToolMissing, and TargetUnusable with the end of the server's log when it does not start.
 */
export async function createPostgresInstance(options: PostgresInstanceOptions): Promise<PostgresInstance> {
  const binDir = options.binDir ?? (await findPostgresBinaries(['postgres', 'initdb', 'pg_ctl'])).binDir;
  const user = await unprivilegedUser();
  const dataDir = path.resolve(options.dataDir);
  await endOrphan(dataDir);
  await ensureCluster({
    binDir,
    dataDir,
    user,
    ...(options.password === undefined ? {} : { password: options.password }),
  });
  for (let attempt = 1; ; attempt++) {
    const started = await start({ ...options, dataDir, ...(attempt > 1 ? { port: 0 } : {}) }, binDir, user);
    if (started !== 'port taken') return started;
    if (attempt < startAttempts) continue;
    throw new Failure(
      'TargetUnusable',
      `Every port that was tried for a PostgreSQL server on ${dataDir} was taken by another process.`,
      {
        next: 'Try again.',
      },
    );
  }
}

/** Between finding a free port and taking it, another process may take it: then it is to be tried with another one. */
async function start(
  options: PostgresInstanceOptions,
  binDir: string,
  user: UnprivilegedUser | null,
): Promise<PostgresInstance | 'port taken'> {
  const { dataDir, password, user: role = 'postgres' } = options;
  const port = await freePort(options.port);
  const logFile = `${dataDir}.log`;
  const { size: logStart } = await appendTo(logFile);
  const server = await spawnServer({
    binDir,
    dataDir,
    user,
    port,
    logFile,
    settings: options.settings ?? {},
  });
  const ended = new Promise<string>((resolve) => {
    server.once('exit', (code, signal) => resolve(signal ? `was ended by ${signal}` : `ended with status ${code}`));
  });
  const uri = (database = 'postgres') => {
    const secret = password === undefined ? '' : `:${encodeURIComponent(password)}`;
    return `postgresql://${encodeURIComponent(role)}${secret}@127.0.0.1:${port}/${encodeURIComponent(database)}`;
  };
  const stop = async () => {
    for (const [signal, waitMs] of [
      ['SIGINT', 20_000],
      ['SIGQUIT', 10_000],
      ['SIGKILL', 10_000],
    ] as const) {
      if (hasEnded(server)) return;
      server.kill(signal);
      const timer = new AbortController();
      await Promise.race([ended, setTimeout(waitMs, undefined, { signal: timer.signal }).catch(() => {})]);
      timer.abort();
    }
  };
  const log = async () => (await readFile(logFile)).subarray(logStart).toString().trim();
  try {
    await waitUntilReady({ uri: uri(options.database), server, dataDir, log });
  } catch (error) {
    await stop();
    if (/could not bind IPv4 address/.test(await log())) return 'port taken';
    throw error;
  }
  return {
    host: '127.0.0.1',
    port,
    user: role,
    dataDir,
    binDir,
    pid: server.pid ?? 0,
    ended,
    uri,
    stop,
    async destroy() {
      await stop();
      await rm(dataDir, { recursive: true, force: true });
      await rm(logFile, { force: true });
    },
  };
}

async function appendTo(file: string): Promise<{ size: number }> {
  const handle = await open(file, 'a', 0o600);
  const { size } = await handle.stat();
  await handle.close();
  return { size };
}

function hasEnded(server: ChildProcess): boolean {
  return server.exitCode !== null || server.signalCode !== null;
}

interface SpawnOptions {
  binDir: string;
  dataDir: string;
  user: UnprivilegedUser | null;
  port: number;
  logFile: string;
  settings: Record<string, string>;
}

async function spawnServer({ binDir, dataDir, user, port, logFile, settings }: SpawnOptions): Promise<ChildProcess> {
  const all = {
    ...settings,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    port: String(port),
  };
  const set = Object.entries(all).flatMap(([k, v]) => ['-c', `${k}=${v}`]);
  const log = await open(logFile, 'a', 0o600);
  try {
    // SIGQUIT ends a server at once together with all its children; what was committed is safe.
    const { command, args } = tied(path.join(binDir, 'postgres'), ['-D', dataDir, ...set], 'QUIT');
    const server = spawn(command, args, {
      cwd: '/',
      stdio: ['ignore', log.fd, log.fd],
      env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' },
      ...(user ? { uid: user.uid, gid: user.gid } : {}),
    });
    await new Promise<void>((resolve, reject) => {
      server.once('spawn', resolve);
      server.once('error', reject);
    });
    return server;
  } finally {
    await log.close();
  }
}

interface ReadyOptions {
  uri: string;
  server: ChildProcess;
  dataDir: string;
  log: () => Promise<string>;
}

async function waitUntilReady({ uri, server, dataDir, log }: ReadyOptions): Promise<void> {
  const until = performance.now() + startTimeoutMs;
  let last = '';
  while (performance.now() < until && !hasEnded(server)) {
    const client = new pg.Client({
      connectionString: uri,
      connectionTimeoutMillis: 5_000,
    });
    // A server that ends while it is asked also fails the question.
    client.on('error', () => {});
    try {
      await client.connect();
      const { rows } = await client.query("SELECT current_setting('data_directory') AS place");
      if ((await realpath(rows[0].place)) === (await realpath(dataDir))) return;
      last = 'another server answered at this port';
    } catch (error) {
      const { code, message } = error as { code?: string; message?: string };
      last = message || String(code);
      if (code === '28P01') break;
    } finally {
      await client.end().catch(() => {});
    }
    await setTimeout(50);
  }
  const tail = (await log()).split('\n').slice(-5).join(' | ');
  throw new Failure(
    'TargetUnusable',
    `The PostgreSQL server on ${dataDir} did not start: ${[tail, last].filter(Boolean).join(' | ')}.`,
    {
      next: 'Look at the last lines of its log; often the disk is full, or a setting is wrong.',
    },
  );
}
