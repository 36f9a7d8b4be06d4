import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { Failure } from '../../../policies/failure.ts';

export interface ToolOptions {
  program: string;
  args: string[];
  env: NodeJS.ProcessEnv;
  signal: AbortSignal;
  /** Feed stdin from it. */
  stdin?: boolean;
}

export interface RunningTool {
  stdin: Writable;
  stdout: Readable;
  /** Resolves when it exited with 0; throws SourceFailed with the end of its stderr otherwise. Await it in every case. */
  finished: Promise<void>;
}

const tailBytes = 4_000;

/** Starts a client tool. It dies when the signal aborts, and with this process. Passwords travel by environment only. */
export function startTool({ program, args, env, signal, stdin }: ToolOptions): RunningTool {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], {
    env,
    stdio: [stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
  }) as ChildProcessByStdio<Writable, Readable, Readable>;
  let tail = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-tailBytes);
  });
  // A tool that ends early closes its stdin; its exit status tells why.
  child.stdin?.on('error', () => {});
  const kill = () => child.kill('SIGKILL');
  signal.addEventListener('abort', kill, { once: true });
  if (signal.aborted) kill();
  const finished = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, killedBy) => {
      signal.removeEventListener('abort', kill);
      if (code === 0) resolve();
      else if (signal.aborted) reject(signal.reason);
      else reject(toolFailure(program, code, killedBy, tail));
    });
  });
  // Awaited by the caller, possibly after it has dealt with the streams.
  finished.catch(() => {});
  return { stdin: child.stdin, stdout: child.stdout, finished };
}

function toolFailure(program: string, code: number | null, killedBy: string | null, tail: string): Failure {
  const name = program.split('/').pop() ?? program;
  const lines = tail.trim().split('\n').filter((l) => l !== '');
  const said = lines.slice(-3).join(' | ') || 'it said nothing';
  const denied = /permission denied for|must be superuser|must be owner/i.test(tail);
  return new Failure(denied ? 'SourceUnreadable' : 'SourceFailed', `${name} failed (${killedBy ?? `exit status ${code}`}): ${said}`, {
    next: denied
      ? 'Grant the backup role what is named (pg_read_all_data reads everything), then run it again.'
      : 'Look at its message; it is tried again by itself.',
  });
}

/** Runs a tool to its end and returns what it printed, which must be small. */
export async function runTool(options: ToolOptions): Promise<string> {
  const tool = startTool(options);
  let text = '';
  for await (const chunk of tool.stdout.setEncoding('utf8')) text += chunk;
  await tool.finished;
  return text;
}
