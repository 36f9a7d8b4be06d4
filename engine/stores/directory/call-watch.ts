import { Failure } from '../../../policies/failure.ts';
import { formatDuration } from '../../../policies/progress.ts';

/**
 * Watches the calls that the file system of one folder is asked to do. One that does not return, e.g. because the server
 * of a mount went away, cannot be ended: it keeps a thread of the process until it returns by itself. It is given up on
 * after a while, and until it has returned nothing more is asked, for each call would take another thread; without any
 * left, the process cannot even look up the address of a server.
 */
export interface CallWatch {
  /**
   * Rejects with StoreUnreachable once the call has been silent for too long, and at once while another one is. What a
   * call that was given up on comes to is nobody's any more: its caller has been told, and has gone on.
   */
  run<T>(call: WatchedCall<T>): Promise<T>;
}

export interface WatchedCall<T> {
  /** As messages tell it, e.g. `open /mnt/nas/shop/a`. */
  what: string;
  start(): Promise<T>;
  /** Told what a call that was given up on brought after all, e.g. an open file, which is to be closed. */
  late?(value: T): void;
  /** Has to happen: when it cannot now, then once the file system answers again. */
  isOwed?: boolean;
  /** Default: the limit of the watch. */
  silentMaxMs?: number | undefined;
}

/** What Node.js has in one process for all calls to file systems, and for looking up addresses. */
const threads = Number(process.env.UV_THREADPOOL_SIZE) || 4;
/** So many calls of a folder are under way at once, the others wait: when it falls silent, half of the threads are left. */
const atOnceMax = Math.min(4, Math.max(1, Math.floor(threads / 2)));

/** @param options the copy's name and folder; after how long a call that does not return is given up on */
export function watchCalls(options: { name: string; root: string; silentMaxMs: number }): CallWatch {
  const place = `${options.name} (${options.root})`;
  const next = `Look at the mount of ${options.root}, and the disk or server behind it; it is tried again by itself.`;
  /** Calls that were given up on and have not returned. */
  const silent = new Set<{ what: string; since: string }>();
  const waiting: PromiseWithResolvers<void>[] = [];
  const owed: (() => void)[] = [];
  let underWay = 0;

  return { run };

  async function run<T>(call: WatchedCall<T>): Promise<T> {
    try {
      await turn();
    } catch (refusal) {
      if (call.isOwed) owed.push(() => void run(call).catch(ofNobody));
      throw refusal;
    }
    return watched(call);
  }

  /** Until one more call may be under way. */
  async function turn(): Promise<void> {
    if (silent.size > 0) throw refused();
    if (underWay < atOnceMax) {
      underWay += 1;
      return;
    }
    const mine = Promise.withResolvers<void>();
    waiting.push(mine);
    await mine.promise;
  }

  function watched<T>({ what, start, late, silentMaxMs = options.silentMaxMs }: WatchedCall<T>): Promise<T> {
    const asked = { what, since: new Date().toISOString() };
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    let doubt: NodeJS.Immediate | undefined;
    const timer = setTimeout(() => {
      // Whoever was stopped meanwhile, machine or process, first hears what has returned.
      doubt = setImmediate(() => {
        silent.add(asked);
        reject(silence(what, silentMaxMs));
        for (const { reject: refuse } of waiting.splice(0)) refuse(refused());
      });
    }, silentMaxMs);
    const returned = () => {
      clearTimeout(timer);
      clearImmediate(doubt);
      const isLate = silent.delete(asked);
      const first = waiting.shift();
      if (first) first.resolve();
      else underWay -= 1;
      if (silent.size === 0) for (const pay of owed.splice(0)) pay();
      return isLate;
    };
    start().then(
      (value) => {
        if (returned()) late?.(value);
        resolve(value);
      },
      (error: unknown) => {
        returned();
        reject(error as Error);
      },
    );
    return promise;
  }

  function silence(what: string, silentMaxMs: number): Failure {
    const said = `${place}: the file system does not answer: "${what}" has not returned for ${formatDuration(silentMaxMs)}.`;
    return new Failure('StoreUnreachable', said, { next });
  }

  function refused(): Failure {
    const [{ what, since } = { what: '', since: '' }] = silent;
    const said = `${place}: the file system has not answered since ${since}: "${what}" has not returned.`;
    return new Failure('StoreUnreachable', `${said} Until it does, nothing more is asked of it.`, { next });
  }
}

/** Of what is done for nobody who waits: its caller was told before that it did not happen then. */
function ofNobody(): void {}
