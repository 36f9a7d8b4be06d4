import { setTimeout } from 'node:timers/promises';

/** What can be kept running. */
export interface Endable {
  /** Resolves when it has ended, for whatever reason. */
  readonly ended: Promise<unknown>;
  stop(): Promise<void>;
}

export interface Supervised<T> {
  /** Its present process; while it is started again, the one that has ended. */
  readonly current: T;
  /** Ends it for good, also in the middle of a start. Idempotent. */
  stop(): Promise<void>;
}

export interface SuperviseOptions<T> {
  /** @param before the process that has ended, null at the first start */
  start(before: T | null): Promise<T>;
  /** Told that it has ended by itself, or did not start again; it is started again after a moment. */
  onEnd?: (how: string) => void;
  /** How long to wait before it is started again. Default a second. */
  restartDelayMs?: number;
}

/** Starts something and starts it again whenever it ends by itself. Throws when the first start fails. */
export async function supervise<T extends Endable>({
  start,
  onEnd,
  restartDelayMs = 1_000,
}: SuperviseOptions<T>): Promise<Supervised<T>> {
  const stopping = new AbortController();
  const { signal } = stopping;
  let current = await start(null);

  async function keepRunning(): Promise<void> {
    for (;;) {
      const how = await current.ended;
      if (signal.aborted) return;
      onEnd?.(String(how));
      await startAgain();
      if (signal.aborted) return current.stop();
    }
  }

  async function startAgain(): Promise<void> {
    while (!signal.aborted) {
      try {
        await setTimeout(restartDelayMs, undefined, { signal });
        current = await start(current);
        return;
      } catch (error) {
        if (!signal.aborted) onEnd?.(error instanceof Error ? error.message : String(error));
      }
    }
  }

  const keeping = keepRunning();
  return {
    get current() {
      return current;
    },
    async stop() {
      stopping.abort();
      await current.stop();
      await keeping;
    },
  };
}
