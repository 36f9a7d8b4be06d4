import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { access, chmod, constants, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const connectTimeoutMs = 3_000;
const downloadTimeoutMs = 5 * 60_000;

/** Prints a line on stderr; silent steps that take minutes look like a hang. */
export type Say = (line: string) => void;

export const say: Say = (line) => {
  process.stderr.write(`${line}\n`);
};

/** The first folder of PATH that holds the program, as an absolute path. */
export async function onPath(program: string): Promise<string | null> {
  for (const folder of (process.env.PATH ?? '').split(':')) {
    if (folder === '') continue;
    const file = path.join(folder, program);
    if (await isExecutable(file)) return file;
  }
  return null;
}

export async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Runs an installer to its end with its output in a log. Throws an Error with the log's end and name. */
export async function runInstaller(
  program: string,
  args: string[],
  options: { logFile: string; env?: NodeJS.ProcessEnv; cwd?: string },
): Promise<void> {
  await mkdir(path.dirname(options.logFile), { recursive: true });
  const log = createWriteStream(options.logFile, { mode: 0o600 });
  await new Promise((resolve, reject) => log.once('open', resolve).once('error', reject));
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', log, log],
  });
  const status = await new Promise<string | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code === 0 ? null : (signal ?? `status ${code}`)));
  }).finally(() => log.close());
  if (status === null) return;
  const lines = (await readFile(options.logFile, 'utf8')).trim().split('\n');
  throw new Error(
    `${path.basename(program)} ${args[0] ?? ''} ended with ${status}: ${lines.slice(-2).join(' | ')} (log: ${options.logFile})`,
  );
}

/**
 * Downloads a .tar.gz over HTTPS and puts one program out of it in place. Gives up after 3 s when the host cannot be
 * reached. Throws an Error that says why.
 */
export async function downloadProgram(url: string, program: string, destination: string): Promise<void> {
  await reachable(new URL(url).hostname);
  const response = await fetch(url, { signal: AbortSignal.timeout(downloadTimeoutMs) });
  if (!response.ok || !response.body) throw new Error(`${url} answered ${response.status}`);
  const scratch = `${destination}.${process.pid}.part`;
  await rm(scratch, { recursive: true, force: true });
  await mkdir(scratch, { recursive: true });
  try {
    const archive = path.join(scratch, 'archive.tar.gz');
    await pipeline(Readable.fromWeb(response.body), createWriteStream(archive));
    const { stdout } = await run('tar', ['-tzf', archive]);
    const member = stdout.split('\n').find((name) => path.basename(name) === program);
    if (!member) throw new Error(`${url} holds no ${program}`);
    await run('tar', ['-xzf', archive, '-C', scratch, member]);
    await placeProgram(path.join(scratch, member), destination);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Makes a finished program visible at once: nobody ever sees half a file. */
export async function placeProgram(from: string, to: string): Promise<void> {
  await chmod(from, 0o755);
  await mkdir(path.dirname(to), { recursive: true });
  await rename(from, to);
}

function reachable(host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: 443, timeout: connectTimeoutMs });
    const fail = (why: string) => {
      socket.destroy();
      reject(new Error(`${host} cannot be reached (${why})`));
    };
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('timeout', () => fail('no answer in 3 s'));
    socket.once('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
  });
}

export interface GoModule {
  /** Import path of the command, without a version. */
  command: string;
  /** Module path, as recorded in the built program. */
  module: string;
  version: string;
}

/** Builds a pinned Go command into a folder. Throws an Error that says why. */
export async function goInstall({ command, version }: GoModule, destination: string, logFile: string): Promise<void> {
  const scratch = `${destination}.${process.pid}.gobin`;
  try {
    await runInstaller('go', ['install', `${command}@${version}`], { logFile, env: { GOBIN: scratch, GOFLAGS: '' } });
    await placeProgram(path.join(scratch, path.basename(command)), destination);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/**
 * True when the program is of the pinned version: by the mark that an installation here left beside it, or by the
 * module version that Go writes into what it builds.
 */
export async function isPinned(program: string, { module, version }: GoModule): Promise<boolean> {
  const mark = await readMark(program);
  if (mark !== null) return mark === version;
  const needle = Buffer.from(`\t${module}\t${version}\t`);
  let rest = Buffer.alloc(0);
  for await (const chunk of createReadStream(program, { highWaterMark: 4 * 1024 * 1024 })) {
    const window = Buffer.concat([rest, chunk as Buffer]);
    if (window.includes(needle)) {
      await markPinned(program, version);
      return true;
    }
    rest = window.subarray(-needle.length);
  }
  return false;
}

export async function markPinned(program: string, version: string): Promise<void> {
  await writeFile(`${program}.version`, `${version}\n`);
}

async function readMark(program: string): Promise<string | null> {
  try {
    return (await readFile(`${program}.version`, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** True as root on a system with apt-get: there, and only there, we install packages ourselves. */
export async function canApt(): Promise<boolean> {
  return process.getuid?.() === 0 && (await onPath('apt-get')) !== null;
}

/** Installs Debian packages. Throws an Error that says why. */
export async function aptInstall(packages: string[], logFile: string): Promise<void> {
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const install = ['-y', '-q', '-o', 'DPkg::Lock::Timeout=300', 'install', '--no-install-recommends', ...packages];
  try {
    await runInstaller('apt-get', install, { logFile, env });
  } catch {
    // Package lists are absent or old on many images; the second try's error is the one that counts.
    await runInstaller('apt-get', ['-q', 'update'], { logFile, env });
    await runInstaller('apt-get', install, { logFile, env });
  }
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
