import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, open, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { Failure } from '../../policies/failure.ts';
import { freePort } from './ports.ts';
import { findPostgresBinaries } from './postgres-binaries.ts';
import type { PostgresInstance, PostgresInstanceOptions } from './types.ts';
import { type UnprivilegedUser, unprivilegedUser } from './unprivileged.ts';

const run = promisify(execFile);
const startTimeoutMs = 60_000;

/**
 * Makes (initdb) and starts a PostgreSQL server of our own on 127.0.0.1. It dies with this process, also when that is
 * killed. As root it runs as an unprivileged user, who is given the folder. Throws ClientToolMissing, and TargetUnusable
 * with the end of the server's log when it does not start.
 */
export async function createPostgresInstance(options: PostgresInstanceOptions): Promise<PostgresInstance> {
  const binDir = options.binDir ?? (await findPostgresBinaries(['postgres', 'initdb', 'pg_ctl'])).binDir;
  const user = await unprivilegedUser();
  const dataDir = path.resolve(options.dataDir);
  await prepareFolder(dataDir, user);
  if (!(await isInitialised(dataDir))) await initialise(binDir, dataDir, user, options.password);
  const port = await freePort(options.port);
  const logFile = `${dataDir}.log`;
  const server = await startServer({ binDir, dataDir, user, port, logFile, settings: options.settings ?? {} });
  const exited = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  const uri = (database = 'postgres') => {
    const password = options.password ? `:${encodeURIComponent(options.password)}` : '';
    return `postgresql://postgres${password}@127.0.0.1:${port}/${encodeURIComponent(database)}`;
  };

  const stop = async () => {
    for (const [signal, waitMs] of [
      ['SIGINT', 20_000],
      ['SIGQUIT', 10_000],
      ['SIGKILL', 10_000],
    ] as const) {
      if (server.exitCode !== null || server.signalCode !== null) return;
      server.kill(signal);
      await Promise.race([exited, setTimeout(waitMs, undefined, { ref: false })]);
    }
  };
  const instance: PostgresInstance = {
    host: '127.0.0.1',
    port,
    user: 'postgres',
    dataDir,
    binDir,
    pid: server.pid ?? 0,
    uri,
    stop,
    async destroy() {
      await stop();
      await rm(dataDir, { recursive: true, force: true });
      await rm(logFile, { force: true });
    },
  };
  try {
    await waitUntilReady(uri(), server, logFile);
  } catch (error) {
    await stop();
    throw error;
  }
  return instance;
}

/**
 * Ends servers and removes data folders that a killed process left below a folder. Only servers whose data folder
 * lies there are touched.
 */
export async function reapInstances(below: string): Promise<void> {
  for (const name of await names(below)) {
    const dataDir = path.join(below, name);
    const pid = await postmasterOf(dataDir);
    if (pid === null) continue;
    process.kill(pid, 'SIGKILL');
    for (let i = 0; i < 100 && (await postmasterOf(dataDir)) !== null; i++) await setTimeout(50);
  }
}

/** The pid in postmaster.pid when that process really is a server on this folder. */
async function postmasterOf(dataDir: string): Promise<number | null> {
  try {
    const [first] = (await readFile(path.join(dataDir, 'postmaster.pid'), 'utf8')).split('\n');
    const pid = Number(first);
    const cwd = await readlink(`/proc/${pid}/cwd`);
    return cwd === dataDir ? pid : null;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
}

async function names(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

async function prepareFolder(dataDir: string, user: UnprivilegedUser | null): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  if (!user) return;
  await chown(dataDir, user.uid, user.gid);
  // Every folder above must let the user through, though not list: traversal is all it is given.
  for (let at = path.dirname(dataDir); at !== '/'; at = path.dirname(at)) {
    const { mode, uid } = await stat(at);
    if ((mode & 0o001) === 0 && uid === 0) await chmod(at, (mode & 0o7777) | 0o011);
  }
}

async function isInitialised(dataDir: string): Promise<boolean> {
  return (await readdir(dataDir)).includes('PG_VERSION');
}

async function initialise(binDir: string, dataDir: string, user: UnprivilegedUser | null, password?: string): Promise<void> {
  const passwordFile = `${dataDir}.${randomBytes(6).toString('hex')}`;
  const authentication = password ? ['--auth=scram-sha-256', `--pwfile=${passwordFile}`] : ['--auth=trust'];
  try {
    if (password) {
      await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
      if (user) await chown(passwordFile, user.uid, user.gid);
    }
    await run(
      path.join(binDir, 'initdb'),
      ['-D', dataDir, '-U', 'postgres', '-E', 'UTF8', '--no-locale', '--data-checksums', '--no-sync', ...authentication],
      { ...identity(user), env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' } },
    );
  } catch (error) {
    throw new Failure('TargetUnusable', `initdb failed in ${dataDir}: ${(error as { stderr?: string }).stderr?.trim() ?? String(error)}.`, {
      next: 'Look at the message; is the folder writable, and is there space?',
      cause: error,
    });
  } finally {
    await rm(passwordFile, { force: true });
  }
}

function identity(user: UnprivilegedUser | null): { uid?: number; gid?: number } {
  return user ? { uid: user.uid, gid: user.gid } : {};
}

interface StartOptions {
  binDir: string;
  dataDir: string;
  user: UnprivilegedUser | null;
  port: number;
  logFile: string;
  settings: Record<string, string>;
}

async function startServer({ binDir, dataDir, user, port, logFile, settings }: StartOptions): Promise<ChildProcess> {
  const all = { listen_addresses: '127.0.0.1', unix_socket_directories: '', port: String(port), ...settings };
  const log = await open(logFile, 'a', 0o600);
  // setpriv: the server is killed with the process that started it, so that a killed worker leaves none behind.
  const server = spawn(
    'setpriv',
    [
      '--pdeathsig',
      'KILL',
      ...(user ? [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups'] : []),
      '--',
      path.join(binDir, 'postgres'),
      '-D',
      dataDir,
      ...Object.entries(all).flatMap(([k, v]) => ['-c', `${k}=${v}`]),
    ],
    { stdio: ['ignore', log.fd, log.fd], env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' } },
  );
  await new Promise<void>((resolve, reject) => {
    server.once('spawn', resolve);
    server.once('error', reject);
  });
  await log.close();
  return server;
}

async function waitUntilReady(uri: string, server: ChildProcess, logFile: string): Promise<void> {
  const until = performance.now() + startTimeoutMs;
  let last: unknown;
  while (performance.now() < until && server.exitCode === null && server.signalCode === null) {
    const client = new pg.Client({ connectionString: uri, connectionTimeoutMillis: 5_000 });
    try {
      await client.connect();
      await client.end();
      return;
    } catch (error) {
      last = error;
      await client.end().catch(() => {});
      await setTimeout(50);
    }
  }
  const tail = (await readFile(logFile, 'utf8')).trim().split('\n').slice(-5).join(' | ');
  throw new Failure('TargetUnusable', `The isolated PostgreSQL server did not start: ${tail || String(last)}.`, {
    next: 'Look at the log line above; often the port or shared memory is taken, or the disk is full.',
    cause: last,
  });
}
