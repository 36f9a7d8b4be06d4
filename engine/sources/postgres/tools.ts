import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Failure } from '../../../policies/failure.ts';
import { type PostgresBinaries, tied } from '../../sites/index.ts';
import { openWidePipe } from './wide-pipe.ts';

export interface ToolOptions {
  program: string;
  args: string[];
  env: NodeJS.ProcessEnv;
  signal: AbortSignal;
  /** Feed stdin from it. */
  stdin?: boolean;
  /** It prints gigabytes, a little at a time. */
  bulk?: boolean;
}

export interface RunningTool {
  stdin: Writable;
  stdout: Readable;
  /**
   * Resolves when it exited with 0; throws SourceFailed or SourceUnreadable with the end of its stderr otherwise, and
   * the signal's reason when that ended it. Settles only once the process is gone. Await it in every case.
   */
  finished: Promise<void>;
}

const tailBytes = 4_000;
const heardBytes = 64 * 1024;
const termMs = 3_000;

/** Starts a client tool. It ends when the signal aborts, and with this process. Passwords travel by environment only. */
export function startTool({ program, args, env, signal, stdin, bulk }: ToolOptions): RunningTool {
  // SIGTERM, for the tools pass it on to their own workers, and cancel what the server does for them.
  const { command, args: argv } = tied(program, args, 'TERM');
  const pipe = bulk ? openWidePipe() : null;
  const child = spawn(command, argv, {
    env,
    stdio: [stdin ? 'pipe' : 'ignore', pipe?.writeEnd ?? 'pipe', 'pipe'],
  }) as ChildProcessByStdio<Writable, Readable, Readable>;
  if (pipe) closeSync(pipe.writeEnd);
  const stdout = pipe?.content ?? child.stdout;
  let tail = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-tailBytes);
  });
  // A tool that ends early closes its stdin; its exit status tells why.
  child.stdin?.on('error', () => {});
  let killTimer: NodeJS.Timeout | undefined;
  const end = () => {
    child.kill('SIGTERM');
    killTimer = setTimeout(() => child.kill('SIGKILL'), termMs);
    // Nobody reads any more what it still prints, and it must not wait for that.
    stdout.resume();
  };
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  const finished = new Promise<void>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => reject(notStarted(program, error)));
    child.once('close', (code, killedBy) => {
      clearTimeout(killTimer);
      signal.removeEventListener('abort', end);
      if (signal.aborted) reject(signal.reason);
      else if (code === 0) resolve();
      else reject(toolFailure(program, killedBy ?? `exit status ${code}`, scrub(tail, env.PGPASSWORD)));
    });
  });
  // Awaited by the caller, possibly after it has dealt with the streams.
  finished.catch(() => {});
  return { stdin: child.stdin, stdout, finished };
}

function notStarted(program: string, error: NodeJS.ErrnoException): Failure {
  return new Failure('ClientToolMissing', `${program} cannot be started (${error.code ?? error.message}).`, {
    next: 'Install the PostgreSQL client tools again, or name another folder in PG_BIN_DIRS.',
    cause: error,
  });
}

/** No tool prints a password; should one ever, e.g. in a connection string, it goes no further. */
function scrub(text: string, password: string | undefined): string {
  const named = text.replace(/(password=|:\/\/[^\s:/@]*:)[^\s@]+/gi, '$1***');
  return password ? named.replaceAll(password, '***') : named;
}

function toolFailure(program: string, ended: string, tail: string): Failure {
  const name = program.split('/').pop() ?? program;
  const lines = tail.split('\n').filter((line) => line.trim() !== '');
  // Details and hints follow the error; the statement that was sent is of no use to the reader.
  const from = lines.findLastIndex((line) => /(error|fatal|panic): /i.test(line));
  const said =
    lines
      .slice(from < 0 ? -3 : from)
      .slice(0, 3)
      .join(' | ')
      .slice(0, 1000) || 'it said nothing';
  const message = `${name} failed (${ended}): ${said}`;
  if (/could not (write|open|close)[^\n]*: No space left on device/.test(tail)) {
    return new Failure('StagingFull', message, { next: 'Free space on the disk it writes to, then run it again.' });
  }
  if (/permission denied for|must be superuser|must be owner|row-level security/i.test(tail)) {
    return new Failure('SourceUnreadable', message, {
      next: 'Grant the backup role what is named (pg_read_all_data reads everything), then run it again.',
    });
  }
  return new Failure('SourceFailed', message, { next: 'Look at its message; it is tried again by itself.' });
}

/** Runs a tool to its end and returns what it printed, which must be small. */
export async function runTool(options: ToolOptions): Promise<string> {
  const tool = startTool(options);
  const chunks: Buffer[] = [];
  for await (const chunk of tool.stdout) chunks.push(chunk as Buffer);
  await tool.finished;
  return Buffer.concat(chunks).toString();
}

/** The full path of a client tool. */
export function tool(tools: PostgresBinaries, program: string): string {
  return path.join(tools.binDir, program);
}

/**
 * Runs a tool that tells by its exit status what it found, and returns that with what it said (the first 64 KiB of
 * errors and output). Throws ClientToolMissing, SourceFailed when it was killed, and the signal's reason.
 */
export async function askTool({ program, args, env, signal }: ToolOptions): Promise<{ status: number; said: string }> {
  signal.throwIfAborted();
  const { command, args: argv } = tied(program, args, 'TERM');
  const child = spawn(command, argv, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const heard = { errors: '', output: '' };
  for (const [stream, name] of [
    [child.stderr, 'errors'],
    [child.stdout, 'output'],
  ] as const) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      if (heard[name].length < heardBytes) heard[name] += text;
    });
  }
  const end = () => child.kill('SIGTERM');
  signal.addEventListener('abort', end, { once: true });
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once('error', (error: NodeJS.ErrnoException) => reject(notStarted(program, error)));
      child.once('close', (code) => resolve(code));
    });
    signal.throwIfAborted();
    const said = scrub(`${heard.errors}${heard.output}`, env.PGPASSWORD);
    if (status === null) throw toolFailure(program, String(child.signalCode), said);
    return { status, said };
  } finally {
    signal.removeEventListener('abort', end);
  }
}

/**
 * Feeds a tool to the end of the content, or of the tool, which may have read all it wants before the last bytes: why it
 * ended is for `finished` to say. Throws what the content fails with.
 */
export async function feed(content: Readable, { stdin }: RunningTool): Promise<void> {
  try {
    await pipeline(content, stdin);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!['EPIPE', 'ERR_STREAM_PREMATURE_CLOSE', 'ECONNRESET'].includes(code)) throw error;
  }
}
