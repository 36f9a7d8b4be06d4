import { type ChildProcess, spawn } from 'node:child_process';
import { durationSeconds } from '../../policies/duration.ts';
import { Failure } from '../../policies/failure.ts';
import type { SourcePolicy } from '../../policies/policy.ts';

type Hooked = Pick<SourcePolicy, 'name' | 'hooks'>;

/**
 * Runs the source's pre hook, the body, and in every case the post hook. A hook that fails stops the backup with
 * HookFailed, unless the body's own failure is the one to tell.
 */
export async function withHooks<T>(source: Hooked, signal: AbortSignal, body: () => Promise<T>): Promise<T> {
  let result: T;
  try {
    await runHook(source, 'pre', signal);
    result = await body();
  } catch (error) {
    // The first failure is told; the post hook still has its turn, and its own failure goes with it.
    await runHook(source, 'post').catch((postError: unknown) => {
      if (error instanceof Failure && postError instanceof Failure) {
        error.details.postHook = postError.message.slice(0, 300);
      }
    });
    throw error;
  }
  await runHook(source, 'post');
  return result;
}

/** What any command may need, and nothing else: secrets that the worker has in its environment are not a hook's. */
const common = /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_[A-Z]+|TZ|TMPDIR)$/;

function hookEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => common.test(name)));
}

/** Runs one hook without a shell, in a process group of its own, so that what it started ends with it at a timeout. */
async function runHook({ name, hooks }: Hooked, when: 'pre' | 'post', signal?: AbortSignal): Promise<void> {
  const [program, ...args] = hooks[when] ?? [];
  if (!program) return;
  signal?.throwIfAborted();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, env: hookEnvironment() });
  const said = tailOf(child);
  const end = Promise.withResolvers<string | null>();
  child.once('error', (error: NodeJS.ErrnoException) => end.resolve(`could not be started (${error.code})`));
  // Its exit counts, not the end of its output: a service that it started may hold that open for good.
  child.once('exit', (code, killedBy) => {
    end.resolve(code === 0 ? null : killedBy ? `was ended by ${killedBy}` : `ended with ${code}`);
  });
  const stop = (why: string) => {
    end.resolve(why);
    killGroup(child);
  };
  const timer = setTimeout(() => stop(`did not end within ${hooks.timeout}`), durationSeconds(hooks.timeout) * 1000);
  const onAbort = () => stop('was aborted');
  signal?.addEventListener('abort', onAbort, { once: true });
  const why = await end.promise.finally(() => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  });
  signal?.throwIfAborted();
  const output = await said();
  if (why === null) return;
  throw new Failure('HookFailed', `The ${when} hook of ${name} (${program}) ${why}: ${output || 'it said nothing'}`, {
    next: 'Run the command by hand as the user of the backup worker, and mend it.',
  });
}

const tailLength = 500;
const lastWordsMs = 100;

/** Keeps the end of what it says, its errors before its output; to be asked for when it has ended. */
function tailOf(child: ChildProcess): () => Promise<string> {
  const streams = [child.stderr, child.stdout].flatMap((s) => s ?? []);
  const tails = streams.map((stream) => {
    const kept = { text: '' };
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => {
      kept.text = (kept.text + text).slice(-tailLength);
    });
    return kept;
  });
  const closed = Promise.withResolvers<void>();
  child.once('close', () => closed.resolve());
  return async () => {
    const timer = setTimeout(closed.resolve, lastWordsMs);
    await closed.promise;
    clearTimeout(timer);
    for (const stream of streams) stream.destroy();
    return tails.map((t) => t.text.trim()).find((text) => text !== '') ?? '';
  };
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has ended by itself in this moment.
  }
}
