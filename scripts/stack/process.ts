import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdir, open, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { Failure, type FailureType } from '../../policies/failure.ts';
import type { RunningService } from './types.ts';

export interface ProcessOptions {
  /** What people call it, e.g. `Temporal`. */
  name: string;
  program: string;
  args: string[];
  /** Added to PATH, HOME and LANG; nothing else of our own environment is passed on. */
  env?: Record<string, string>;
  cwd?: string;
  /** Absolute; what it prints is appended, mode 0600. */
  logFile: string;
  /** What a failed start is reported as. */
  failure: FailureType;
  /** Ports from freePort that it listens on: once it serves, and when it has failed, they are no longer kept for it. */
  ports?: number[];
  /** Resolves true once it serves; called again and again until then. */
  ready: () => Promise<boolean>;
  /** Default 60 s. */
  readyTimeoutMs?: number;
  /** How long SIGTERM may take before SIGKILL. Default 10 s. */
  stopTimeoutMs?: number;
}

export interface RunningProcess extends RunningService {
  readonly logFile: string;
}

/**
 * Starts a server and waits until it serves. It is killed with this process, also when that gets SIGKILL (Linux:
 * prctl(2) PR_SET_PDEATHSIG, set by setpriv(1) of util-linux; elsewhere only an orderly end takes it along). Call it
 * from the main thread: the kernel watches the thread. Throws `failure` with the end of the log when it does not start.
 */
export async function startProcess(options: ProcessOptions): Promise<RunningProcess> {
  try {
    return await startWaiting(options);
  } finally {
    for (const port of options.ports ?? []) promised.delete(port);
  }
}

async function startWaiting(options: ProcessOptions): Promise<RunningProcess> {
  const { name, logFile, stopTimeoutMs = 10_000 } = options;
  const child = await launch(options);
  const pid = child.pid ?? 0;
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ? `was ended by ${signal}` : `ended with status ${code}`));
  });
  const stop = async () => {
    for (const [signal, waitMs] of [
      ['SIGTERM', stopTimeoutMs],
      ['SIGKILL', 10_000],
    ] as const) {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill(signal);
      await Promise.race([ended, setTimeout(waitMs, undefined, { ref: false })]);
    }
  };
  const gone = () => child.exitCode !== null || child.signalCode !== null;
  const until = performance.now() + (options.readyTimeoutMs ?? 60_000);
  try {
    while (!gone() && performance.now() < until) {
      if (await options.ready()) return { pid, logFile, ended, stop };
      await setTimeout(50);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const how = gone() ? await ended : 'did not get ready in time';
  await stop();
  throw new Failure(options.failure, `${name} did not start: it ${how}. ${await lastLines(logFile)}`, {
    next: `Read ${logFile}; often a port or a folder is in use, or the disk is full.`,
  });
}

async function launch({ name, program, args, env, cwd, logFile }: ProcessOptions): Promise<ChildProcess> {
  await mkdir(path.dirname(logFile), { recursive: true });
  const log = await open(logFile, 'a', 0o600);
  const { PATH = '', HOME = '/', LANG = 'C.UTF-8' } = process.env;
  const argv =
    process.platform === 'linux' ? ['setpriv', '--pdeathsig', 'KILL', '--', program, ...args] : [program, ...args];
  try {
    // A group of its own: Ctrl-C on the terminal reaches only us, and we end the children in order.
    const child = spawn(argv[0] ?? program, argv.slice(1), {
      cwd,
      detached: true,
      env: { PATH, HOME, LANG, ...env },
      stdio: ['ignore', log.fd, log.fd],
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    return child;
  } catch (error) {
    throw new Failure('ClientToolMissing', `${name} cannot be run: ${(error as Error).message}.`, {
      next: `Check that ${program} and setpriv (package util-linux) are there and executable.`,
      cause: error,
    });
  } finally {
    await log.close();
  }
}

/** The end of a log, on one line. */
export async function lastLines(file: string, count = 4): Promise<string> {
  const lines = (await readFile(file, 'utf8')).split('\n').filter((line) => line.trim() !== '');
  return lines.slice(-count).join(' | ');
}

// Ports given out that nobody listens on yet: two servers started at once must not be given the same one.
const promised = new Set<number>();

/**
 * Where other ports are taken from: below those that the kernel lends to outgoing connections (from 32768 on Linux), for
 * one of these may hold a server's port while it is being started again.
 */
const portRange = { first: 15_000, count: 15_000 } as const;

/** The preferred port of 127.0.0.1 when it is free, another free one otherwise. None is given out twice. */
export async function freePort(preferred?: number): Promise<number> {
  const wanted = [...(preferred ? [preferred] : []), ...Array.from({ length: 100 }, randomPort), 0];
  for (const candidate of wanted) {
    if (promised.has(candidate)) continue;
    const port = await tryPort(candidate);
    if (port === null || promised.has(port)) continue;
    promised.add(port);
    return port;
  }
  throw new Failure('TargetUnusable', 'No port of 127.0.0.1 is free.', {
    next: 'See with `ss -ltn` what holds them.',
  });
}

function randomPort(): number {
  return portRange.first + randomInt(portRange.count);
}

function tryPort(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : null));
    });
  });
}
