import { Worker } from 'node:worker_threads';
import { Failure } from '../../../policies/failure.ts';
import { assertAnswers, noteHanging, signOf, watchSilence } from '../../answering.ts';
import { latin1 } from './raw-path.ts';
import type { Found, WalkOptions } from './walk.ts';
import { endOfWalk, type Numbered, unposted, type WalkReply, type WalkRequest } from './walk-requests.ts';

/** Lists a tree by a thread of its own. */
export interface Walker {
  /** As walk() does, some hundred entries ahead. */
  found(): AsyncGenerator<Found>;
  /** Looks at a file once more; null when it is gone, or is something else by now. */
  look(found: Found): Promise<Found | null>;
  /** The code of the error that opening a file for reading ends with. */
  openError(found: Found): Promise<string | undefined>;
  /** The thread ends once it can. */
  close(): void;
}

export interface WalkerOptions {
  /** For tests. */
  script?: URL;
  /** Where it is waited for less than usual. */
  silentMaxMs?: number;
}

interface Asked {
  resolve(reply: WalkReply): void;
  reject(error: unknown): void;
}

const threadScript = new URL('./walk-thread.ts', import.meta.url);

/**
 * Throws SourceUnreachable where the tree does not answer. What is asked throws it as well, once nothing has come for
 * minutes, and the signal's reason once that is aborted, whatever the file system does.
 */
export function openWalker(
  { warn, ...options }: WalkOptions,
  signal: AbortSignal,
  { script = threadScript, silentMaxMs }: WalkerOptions = {},
): Walker {
  assertAnswers(options.root);
  const root = Buffer.from(options.root);
  const worker = new Worker(script, {
    // Enough for some millions of names in one folder; a usual tree takes up next to nothing of it.
    resourceLimits: { maxOldGenerationSizeMb: 512, maxYoungGenerationSizeMb: 4 },
    execArgv: ['--no-warnings'],
  });
  const asked = new Map<number, Asked>();
  let nextId = 0;
  let lost: { error: unknown } | null = null;
  const fail = (error: unknown) => {
    lost ??= { error };
    for (const { reject } of asked.values()) reject(error);
    asked.clear();
    worker.unref();
  };
  const ask = <K extends WalkReply['kind']>(kind: K, request: WalkRequest): Promise<Extract<WalkReply, { kind: K }>> =>
    new Promise((resolve, reject) => {
      if (lost) return reject(lost.error);
      const id = nextId++;
      const answered = (reply: WalkReply) =>
        reply.kind === kind ? resolve(reply as Extract<WalkReply, { kind: K }>) : reject(asError(reply));
      asked.set(id, { resolve: answered, reject });
      worker.ref();
      worker.postMessage({ ...request, id } satisfies Numbered<WalkRequest>);
    });
  worker.on('message', ({ id, ...reply }: Numbered<WalkReply>) => {
    const waiting = asked.get(id);
    asked.delete(id);
    if (asked.size === 0) worker.unref();
    waiting?.resolve(reply as WalkReply);
  });
  worker.on('error', fail);
  const stopWatching = watchSilence(
    () => asked.keys().next().value,
    (ms) => fail(noteHanging(options.root, ms, signOf(worker))),
    silentMaxMs,
  );
  const onAbort = () => fail(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  const ahead = <T>(promise: Promise<T>): Promise<T> => {
    // Whoever waits for it is told; nobody may.
    promise.catch(() => {});
    return promise;
  };

  return {
    async *found() {
      await ask('begun', { kind: 'begin', options });
      for (let next = ahead(ask('found', { kind: 'more' })); ; ) {
        const { found, warnings, isLast } = await next;
        if (!isLast) next = ahead(ask('found', { kind: 'more' }));
        for (const line of warnings) warn(line);
        for (const one of found) yield unposted(one, root);
        if (isLast) return;
      }
    },
    async look({ entry }) {
      const { found } = await ask('looked', { kind: 'look', path: latin1(entry.path) });
      return found && unposted(found, root);
    },
    openError: async ({ entry }) => (await ask('opened', { kind: 'open', path: latin1(entry.path) })).errno,
    close() {
      stopWatching();
      signal.removeEventListener('abort', onAbort);
      worker.postMessage(endOfWalk);
      fail(new Error('the walk is over'));
    },
  };
}

function asError(reply: WalkReply): Error {
  if (reply.kind !== 'failed') return new TypeError(`${reply.kind} is no answer to that`);
  const { failure, message, errno } = reply;
  return failure
    ? new Failure(failure.type, message, { next: failure.next })
    : Object.assign(new Error(message), { code: errno });
}
