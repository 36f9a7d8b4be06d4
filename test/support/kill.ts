import { setTimeout } from 'node:timers/promises';

/**
 * Stops a process (SIGSTOP) while something is so: as soon as that is seen, looks again while it stands still, and lets
 * it go on when it was too late. Asks for the pid anew each time, for the process may be started again. Resolves to the
 * pid; to null when it gives up, because the signal was aborted.
 */
export async function stopWhile(
  pidOf: () => number,
  isSo: () => boolean | Promise<boolean>,
  giveUp: AbortSignal,
): Promise<number | null> {
  while (!giveUp.aborted) {
    if (await isSo()) {
      const pid = pidOf();
      if (signal(pid, 'SIGSTOP')) {
        if (await isSo()) return pid;
        signal(pid, 'SIGCONT');
      }
    }
    await setTimeout(5);
  }
  return null;
}

/** Kills a process (SIGKILL) while something is so. Resolves to false when it gives up. */
export async function killWhile(...[pidOf, isSo, giveUp]: Parameters<typeof stopWhile>): Promise<boolean> {
  const pid = await stopWhile(pidOf, isSo, giveUp);
  if (pid !== null) signal(pid, 'SIGKILL');
  return pid !== null;
}

/** False when there is no such process any more. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
