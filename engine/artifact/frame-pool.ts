import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { PackJob, Packed, ThreadFailure, ThreadJob, ThreadReply, UnpackJob, Unpacked } from './frame-jobs.ts';

/** Threads shared by all jobs of this process; they end when the last user has let go. */
export interface FramePool {
  readonly threads: number;
  pack(job: Omit<PackJob, 'seq' | 'kind'>): Promise<Packed>;
  /** Rejects with an Error that carries `errno` when a block could not be written. */
  unpack(job: Omit<UnpackJob, 'seq' | 'kind'>): Promise<Unpacked>;
  release(): Promise<void>;
}

/** Raised when a thread could not write what it restored. */
export class FrameWriteError extends Error {
  readonly errno: string;
  constructor(failure: ThreadFailure) {
    super(failure.message);
    this.errno = failure.errno;
  }
}

interface Waiting {
  job: ThreadJob;
  resolve(reply: Packed | Unpacked): void;
  reject(error: Error): void;
}

interface Shared {
  users: number;
  threads: Thread[];
  queue: Waiting[];
}

interface Thread {
  worker: Worker;
  running: Map<number, Waiting>;
}

/** Two jobs at a thread: one runs while the next is already there. */
const jobsPerThread = 2;
let shared: Shared | null = null;
let nextSeq = 0;

/** Takes a share in the pool, starting it if need be. Every acquire needs its release. */
export function acquireFramePool(): FramePool {
  shared ??= { users: 0, threads: [], queue: [] };
  const pool = shared;
  pool.users++;
  const count = Math.max(1, availableParallelism());
  while (pool.threads.length < count) pool.threads.push(startThread(pool));
  let released = false;
  const run = (job: ThreadJob) =>
    new Promise<Packed | Unpacked>((resolve, reject) => {
      pool.queue.push({ job, resolve, reject });
      feed(pool);
    });
  return {
    threads: count,
    pack: async (job) => (await run({ ...job, kind: 'pack', seq: nextSeq++ })) as Packed,
    unpack: async (job) => (await run({ ...job, kind: 'unpack', seq: nextSeq++ })) as Unpacked,
    async release() {
      if (released) return;
      released = true;
      pool.users--;
      if (pool.users > 0) return;
      if (shared === pool) shared = null;
      await Promise.all(pool.threads.map((t) => t.worker.terminate()));
    },
  };
}

function startThread(pool: Shared): Thread {
  const worker = new Worker(new URL('./frame-thread.ts', import.meta.url), {
    // Only small objects live on a thread's heap; frames are outside of it.
    resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8 },
    execArgv: ['--no-warnings'],
  });
  worker.unref();
  const thread: Thread = { worker, running: new Map() };
  worker.on('message', (reply: ThreadReply) => {
    const waiting = thread.running.get(reply.seq);
    thread.running.delete(reply.seq);
    if (thread.running.size === 0) worker.unref();
    feed(pool);
    if (reply.kind === 'failed') waiting?.reject(new FrameWriteError(reply));
    else waiting?.resolve(reply);
  });
  worker.on('error', (error) => {
    // The thread is gone and its jobs with it; another takes its place for those still queued.
    pool.threads[pool.threads.indexOf(thread)] = startThread(pool);
    for (const waiting of thread.running.values()) waiting.reject(error instanceof Error ? error : new Error(String(error)));
    feed(pool);
  });
  return thread;
}

function feed(pool: Shared): void {
  while (pool.queue.length > 0) {
    const thread = pool.threads.reduce((a, b) => (b.running.size < a.running.size ? b : a));
    if (thread.running.size >= jobsPerThread) return;
    const waiting = pool.queue.shift();
    if (!waiting) return;
    thread.running.set(waiting.job.seq, waiting);
    thread.worker.ref();
    thread.worker.postMessage(waiting.job, transferable(waiting.job));
  }
}

/** Memory that a job's bytes own alone is handed over; what shares memory with others is copied by the post. */
function transferable(job: ThreadJob): ArrayBuffer[] {
  const views =
    job.kind === 'pack' ? job.pieces.flatMap((p) => (p.kind === 'bytes' ? [p.bytes] : [])) : [job.compressed];
  return views.flatMap(({ buffer, byteLength }) =>
    buffer instanceof ArrayBuffer && buffer.byteLength === byteLength && byteLength > 64 * 1024 ? [buffer] : [],
  );
}
