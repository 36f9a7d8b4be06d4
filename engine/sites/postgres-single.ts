import { spawn } from 'node:child_process';
import path from 'node:path';
import { Failure } from '../../policies/failure.ts';
import { makeReachable } from './reachable.ts';
import { tied } from './tied.ts';
import { unprivilegedUser } from './unprivileged.ts';

export interface SingleUserOptions {
  binDir: string;
  /** Absolute; a cluster that no server runs on, owned by the unprivileged user when we are root. */
  dataDir: string;
  settings: Record<string, string>;
  database: string;
  /** One command a line, no line breaks within. */
  commands: string[];
  signal: AbortSignal;
}

const tailBytes = 64_000;
const killAfterMs = 10_000;

/**
 * Runs commands in single-user mode (PostgreSQL manual, `postgres`): as the superuser, whatever its name, and after
 * whatever recovery the cluster needs. Returns what the server said (the end of it); that a command fails is told there
 * only. A cluster that cannot be recovered or opened throws TargetUnusable.
 */
export async function runSingleUser(options: SingleUserOptions): Promise<string> {
  const { binDir, dataDir, settings, database, commands, signal } = options;
  const user = await unprivilegedUser();
  if (user) {
    await makeReachable(dataDir, user);
    await makeReachable(path.join(binDir, 'postgres'), user);
  }
  const set = Object.entries(settings).flatMap(([k, v]) => ['-c', `${k}=${v}`]);
  const program = path.join(binDir, 'postgres');
  const { command, args } = tied(program, ['--single', '-D', dataDir, ...set, database], 'QUIT');
  signal.throwIfAborted();
  const server = spawn(command, args, {
    cwd: '/',
    stdio: ['pipe', 'ignore', 'pipe'],
    env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' },
    ...(user ? { uid: user.uid, gid: user.gid } : {}),
  });
  let said = '';
  server.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-tailBytes);
  });
  // One that ends early closes its stdin; its exit status tells why.
  server.stdin.on('error', () => {});
  server.stdin.end(commands.map((c) => `${c}\n`).join(''));
  let killTimer: NodeJS.Timeout | undefined;
  const end = () => {
    server.kill('SIGQUIT');
    // While it waits for a command it has started, it hears of no signal but this one.
    killTimer = setTimeout(() => server.kill('SIGKILL'), killAfterMs);
  };
  signal.addEventListener('abort', end, { once: true });
  try {
    const status = await new Promise<string | null>((resolve, reject) => {
      server.once('error', reject);
      server.once('close', (code, by) => resolve(code === 0 ? null : (by ?? `exit status ${code}`)));
    });
    signal.throwIfAborted();
    if (status === null) return said;
    const lines = said.split('\n').filter((line) => line.trim() !== '');
    const from = lines.findIndex((line) => /(FATAL|PANIC|ERROR): /.test(line));
    throw new Failure(
      'TargetUnusable',
      `The cluster in ${dataDir} cannot be recovered and opened (${status}): ${lines
        .slice(from < 0 ? -3 : from)
        .slice(0, 4)
        .join(' | ')}`,
      { next: 'Look at what the server says.', details: { said: said.slice(-8000) } },
    );
  } finally {
    clearTimeout(killTimer);
    signal.removeEventListener('abort', end);
  }
}
