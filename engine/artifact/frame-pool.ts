import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { isWithin } from '../../policies/within.ts';
import { noteHanging, signOf, watchSilence } from '../answering.ts';
import { type GivenUpData, giveUp, newGivenUp } from '../giving-up.ts';
import type {
  Compared,
  CompareJob,
  Examined,
  ExamineJob,
  Packed,
  PackJob,
  ThreadFailure,
  ThreadJob,
  ThreadReply,
  Unpacked,
  UnpackJob,
} from './frame-jobs.ts';
import { endOfWork, pathsOf, portable, wasHandedOver } from './frame-post.ts';

/** Threads shared by all jobs of this process; they end once the last user has let go, or a while after it. */
export interface FramePool {
  readonly threads: number;
  /** This and the others reject with SourceUnreachable when a file that they read or write does not answer. */
  pack(job: Omit<PackJob, 'seq' | 'kind'>): Promise<Packed>;
  /** Rejects with an Error that carries `errno` when a block could not be written. */
  unpack(job: Omit<UnpackJob, 'seq' | 'kind'>): Promise<Unpacked>;
  /** The bytes are handed over, and come back with the result as far as they are new. */
  examine(job: Omit<ExamineJob, 'seq' | 'kind'>): Promise<Examined>;
  /** Rejects with an Error that carries `errno` when a file could not be read. */
  compare(job: Omit<CompareJob, 'seq' | 'kind'>): Promise<Compared>;
  release(): Promise<void>;
}

type Result = Exclude<ThreadReply, ThreadFailure>;

/** Raised when a thread could not write what it restored, or not read it again. */
export class FrameWriteError extends Error {
  readonly errno: string;
  constructor(failure: ThreadFailure) {
    super(failure.message);
    this.errno = failure.errno;
  }
}

interface Waiting {
  job: ThreadJob;
  resolve(reply: Result): void;
  reject(error: Error): void;
}

interface Shared {
  users: number;
  /** Runs while nobody uses it. */
  ending: NodeJS.Timeout | null;
  size: number;
  threads: Thread[];
  queue: Waiting[];
  /** Since its threads were begun. */
  jobs: number;
}

interface Thread {
  worker: Worker;
  givenUp: GivenUpData;
  running: Map<number, Waiting>;
  stopWatching(): void;
}

/** Two jobs at a thread: one runs while the next is already there. */
const jobsPerThread = 2;
/** A thread costs some 25 MiB and compresses some 600 MB/s: more of them outrun any disk, at the price of memory. */
const threadsMax = 4;
let shared: Shared | null = null;
let nextSeq = 0;
let keptMs = 0;
/** Threads that have done more have grown, and the time to start them anew is little beside that work. */
const keptJobsMax = 64;

/**
 * Has threads that have done little wait so long for another user once the last one has let go, default 0: starting one
 * takes some 80 ms of a processor, more than most of the small objects that come one after another. Waiting, they keep no
 * process from its end.
 */
export function keepFrameThreads(ms: number): void {
  keptMs = ms;
}

/** Takes a share in the pool, whose threads start with the first jobs. Every acquire needs its release. */
export function acquireFramePool(): FramePool {
  const size = Math.min(threadsMax, Math.max(1, availableParallelism()));
  shared ??= { users: 0, ending: null, size, threads: [], queue: [], jobs: 0 };
  const pool = shared;
  pool.users++;
  if (pool.ending) clearTimeout(pool.ending);
  pool.ending = null;
  let released = false;
  const run = (job: ThreadJob) =>
    new Promise<Result>((resolve, reject) => {
      pool.queue.push({ job, resolve, reject });
      feed(pool);
    });
  return {
    threads: pool.size,
    pack: async (job) => (await run({ ...job, kind: 'pack', seq: nextSeq++ })) as Packed,
    unpack: async (job) => (await run({ ...job, kind: 'unpack', seq: nextSeq++ })) as Unpacked,
    examine: async (job) => (await run({ ...job, kind: 'examine', seq: nextSeq++ })) as Examined,
    compare: async (job) => (await run({ ...job, kind: 'compare', seq: nextSeq++ })) as Compared,
    async release() {
      if (released) return;
      released = true;
      pool.users--;
      if (pool.users > 0) return;
      if (keptMs === 0 || pool.jobs > keptJobsMax) return endAll(pool);
      pool.ending = setTimeout(() => void endAll(pool), keptMs).unref();
    },
  };
}

async function endAll(pool: Shared): Promise<void> {
  if (shared === pool) shared = null;
  await Promise.all(pool.threads.map(end));
}

/**
 * Lets a thread end by itself, after what it has begun. One that is ended from outside while it starts, or while it calls
 * into the C library, takes the whole process along.
 */
async function end({ worker, stopWatching }: Thread): Promise<void> {
  stopWatching();
  const ended = once(worker, 'exit');
  worker.ref();
  worker.postMessage(endOfWork);
  await ended;
}

function startThread(pool: Shared): Thread {
  const givenUp = newGivenUp();
  const worker = new Worker(new URL('./frame-thread.ts', import.meta.url), {
    // Only small objects live on a thread's heap; frames are outside of it.
    resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8 },
    execArgv: ['--no-warnings'],
    workerData: givenUp,
  });
  worker.unref();
  const thread: Thread = {
    worker,
    givenUp,
    running: new Map(),
    stopWatching: watchSilence(
      () => touching(thread),
      (ms) => abandon(pool, thread, ms),
    ),
  };
  worker.on('message', (reply: ThreadReply) => {
    const waiting = thread.running.get(reply.seq);
    thread.running.delete(reply.seq);
    if (thread.running.size === 0) worker.unref();
    feed(pool);
    if (reply.kind === 'failed') waiting?.reject(new FrameWriteError(reply));
    else waiting?.resolve(reply);
  });
  worker.on('error', (error) => {
    thread.stopWatching();
    // The thread is gone and its jobs with it; another takes its place when there is work for it.
    pool.threads = pool.threads.filter((t) => t !== thread);
    for (const waiting of thread.running.values())
      waiting.reject(error instanceof Error ? error : new Error(String(error)));
    feed(pool);
  });
  return thread;
}

/** The job that a thread is at, if it reads or writes files, and which. */
function touching({ running }: Thread): { id: number; paths: string[] } | undefined {
  const job = running.values().next().value?.job;
  const paths = job ? pathsOf(job).map((path) => Buffer.from(path).toString()) : [];
  return job && paths.length > 0 ? { id: job.seq, paths } : undefined;
}

/** The one file, or the folder that several share: which of them hangs nobody knows. */
function placeOf([first = '', ...others]: string[]): string {
  let place = first;
  for (const other of others) while (!isWithin(other, place)) place = path.dirname(place);
  return place;
}

/**
 * A thread in a call that never returns is lost; another takes its place, and those of its jobs that it has not begun, as far
 * as their bytes were not handed over to it. It ends if it comes back after all.
 */
function abandon(pool: Shared, thread: Thread, ms: number): void {
  const { worker, running, givenUp } = thread;
  giveUp(givenUp);
  const returned = signOf(worker);
  const failure = noteHanging(placeOf(touching(thread)?.paths ?? []), ms, returned);
  const letGo = () => worker.postMessage(endOfWork);
  returned.then(letGo, letGo);
  pool.threads = pool.threads.filter((t) => t !== thread);
  const [hung, ...behind] = running.values();
  hung?.reject(failure);
  const lost = behind.filter(({ job }) => wasHandedOver(job));
  for (const { reject } of lost) reject(failure);
  pool.queue.unshift(...behind.filter((waiting) => !lost.includes(waiting)));
  running.clear();
  worker.unref();
  feed(pool);
}

function feed(pool: Shared): void {
  while (pool.queue.length > 0) {
    const thread = freeThread(pool);
    if (!thread) return;
    const waiting = pool.queue.shift();
    if (!waiting) return;
    thread.running.set(waiting.job.seq, waiting);
    pool.jobs++;
    thread.worker.ref();
    const { job, transfer } = portable(waiting.job);
    thread.worker.postMessage(job, transfer);
  }
}

/** The one that has least to do; a new one where all have something to do, and there may be more of them. */
function freeThread(pool: Shared): Thread | null {
  const [least] = pool.threads.toSorted((a, b) => a.running.size - b.running.size);
  if (least?.running.size === 0) return least;
  if (pool.threads.length < pool.size) {
    const started = startThread(pool);
    pool.threads.push(started);
    return started;
  }
  return least && least.running.size < jobsPerThread ? least : null;
}
