import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Failure } from '../../policies/failure.ts';
import { durationSeconds, type SourcePolicy } from '../../policies/policy.ts';

const run = promisify(execFile);

/**
 * Runs the source's pre hook, the body, and in every case the post hook. A hook that fails stops the backup with
 * HookFailed, unless the body's own failure is the one to tell.
 */
export async function withHooks<T>(source: Pick<SourcePolicy, 'name' | 'hooks'>, signal: AbortSignal, body: () => Promise<T>): Promise<T> {
  const { pre, post, timeout } = source.hooks;
  const hook = async (when: string, argv: string[] | undefined, abort?: AbortSignal) => {
    const [program, ...args] = argv ?? [];
    if (!program) return;
    try {
      await run(program, args, { timeout: durationSeconds(timeout) * 1000, killSignal: 'SIGKILL', ...(abort ? { signal: abort } : {}) });
    } catch (error) {
      const { stderr, code, killed } = error as { stderr?: string; code?: number | string; killed?: boolean };
      const why = killed ? `did not end within ${timeout}` : `ended with ${code}`;
      throw new Failure('HookFailed', `The ${when} hook of ${source.name} (${program}) ${why}: ${stderr?.trim().slice(-500) || 'it said nothing'}`, {
        next: 'Run the command by hand as the user of the backup worker, and mend it.',
        cause: error,
      });
    }
  };
  let result: T;
  try {
    await hook('pre', pre, signal);
    result = await body();
  } catch (error) {
    // The first failure is told; the post hook still has its turn, and its own failure goes with it.
    await hook('post', post).catch((postError: unknown) => {
      if (error instanceof Failure && postError instanceof Failure) error.details.postHook = postError.message.slice(0, 300);
    });
    throw error;
  }
  await hook('post', post);
  return result;
}
