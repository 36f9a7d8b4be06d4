import { Worker } from 'node:worker_threads';
import { Failure } from '../policies/failure.ts';
import { assertAnswers, noteHanging, signOf, watchSilence } from './answering.ts';
import { giveUp, newGivenUp } from './giving-up.ts';
import { type Calls, endOfWork, type Failed, type SideReply, type SideRequest } from './side-thread-work.ts';

/** Functions that another thread runs, one after the other: whatever hangs there, this one goes on. */
export interface SideThread<C extends Calls> {
  call<K extends keyof C & string>(name: K, ...input: Parameters<C[K]>): Promise<Awaited<ReturnType<C[K]>>>;
  /** The thread ends once it can; what is under way is given up. */
  close(): void;
}

export interface SideThreadOptions<C extends Calls> {
  /** Serves the calls, by `serveCalls`. */
  script: URL;
  /** Absolute; what the calls are about. */
  folder: string;
  /** MiB. */
  memory: { old: number; young: number };
  /** Once it is aborted, whatever is asked throws its reason. */
  signal?: AbortSignal;
  /** Calls that are waited for longer than others. */
  slow?: readonly (keyof C & string)[];
  /** Where it is waited for less than usual. */
  silentMaxMs?: number | undefined;
}

interface Asked {
  name: string;
  resolve(reply: SideReply): void;
  reject(error: unknown): void;
}

/**
 * Throws SourceUnreachable where the folder does not answer. So does whatever is asked, once nothing has come for
 * minutes; the thread is given up then.
 */
export function openSideThread<C extends Calls>(options: SideThreadOptions<C>): SideThread<C> {
  const { script, folder, memory, signal, silentMaxMs } = options;
  const slow: readonly string[] = options.slow ?? [];
  assertAnswers(folder);
  const workerData = newGivenUp();
  const worker = new Worker(script, {
    resourceLimits: { maxOldGenerationSizeMb: memory.old, maxYoungGenerationSizeMb: memory.young },
    execArgv: ['--no-warnings'],
    workerData,
  });
  worker.unref();
  const asked = new Map<number, Asked>();
  let nextId = 0;
  let lost: { error: unknown } | null = null;
  const lose = (error: unknown) => {
    lost ??= { error };
    if (asked.size > 0) giveUp(workerData);
    for (const { reject } of asked.values()) reject(error);
    asked.clear();
    worker.unref();
  };
  worker.on('message', ({ id, ...reply }: SideReply & { id: number }) => {
    const waiting = asked.get(id);
    asked.delete(id);
    if (asked.size === 0) worker.unref();
    waiting?.resolve(reply);
  });
  worker.on('error', lose);
  const stopWatching = watchSilence(
    () => {
      const [first] = asked;
      return first && { id: first[0], isSlow: slow.includes(first[1].name) };
    },
    (ms) => {
      lose(noteHanging(folder, ms, signOf(worker)));
      worker.postMessage(endOfWork);
    },
    silentMaxMs,
  );
  const onAbort = () => lose(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();

  return {
    call: (name, ...[input]) =>
      new Promise((resolve, reject) => {
        if (lost) return reject(lost.error);
        const id = nextId++;
        asked.set(id, {
          name,
          resolve: (reply) =>
            'failed' in reply
              ? reject(asError(reply.failed))
              : resolve(reply.value as Awaited<ReturnType<C[typeof name]>>),
          reject,
        });
        worker.ref();
        worker.postMessage({ id, name, input } satisfies SideRequest);
      }),
    close() {
      stopWatching();
      signal?.removeEventListener('abort', onAbort);
      lose(new Error('the thread was closed'));
      worker.postMessage(endOfWork);
    },
  };
}

function asError({ message, failure, system }: Failed): Error {
  return failure
    ? new Failure(failure.type, message, { next: failure.next })
    : Object.assign(new Error(message), system);
}
