import { setTimeout } from 'node:timers/promises';

/**
 * Kills a process (SIGKILL) while something is so: stops it as soon as that is seen, looks again while it stands still,
 * and lets it go on when it was too late. Asks for the pid anew each time, for the process may be started again.
 * Resolves to false when it gives up, because the signal was aborted.
 */
export async function killWhile(
  pidOf: () => number,
  isSo: () => boolean | Promise<boolean>,
  giveUp: AbortSignal,
): Promise<boolean> {
  while (!giveUp.aborted) {
    if (await isSo()) {
      const pid = pidOf();
      if (signal(pid, 'SIGSTOP')) {
        if (await isSo()) {
          signal(pid, 'SIGKILL');
          return true;
        }
        signal(pid, 'SIGCONT');
      }
    }
    await setTimeout(5);
  }
  return false;
}

/** False when there is no such process any more. */
function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
