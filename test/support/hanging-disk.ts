import { type Disk, localDisk, type OpenFile } from '../../engine/stores/directory/disk.ts';

/** Whether a call that hangs is done when it goes on, or was done at once and only its answer hangs. */
export type Hang = 'before it is done' | 'once it is done';

/** This machine's disk, whose calls a test can let hang. */
export interface HangingDisk extends Disk {
  /** What was called, in order, e.g. `open`; of open files `file.read`. */
  readonly calls: string[];
  /** Open files that were not closed. */
  openFiles(): number;
  /** The call after so many others does not return until `goOn`. */
  hang(after: number, how: Hang): void;
  /** Resolves once that call hangs. */
  hung(): Promise<void>;
  /** Whether any call has hung. */
  hasHung(): boolean;
  /** What hangs goes on; what is yet to hang does not. */
  goOn(): void;
}

export function hangingDisk(): HangingDisk {
  const calls: string[] = [];
  let open = 0;
  let hasHung = false;
  let planned: { call: number; how: Hang } | null = null;
  let begun = Promise.withResolvers<void>();
  let end = Promise.withResolvers<void>();

  async function run<T>(name: string, call: () => Promise<T>): Promise<T> {
    const nth = calls.push(name) - 1;
    if (nth !== planned?.call) return call();
    hasHung = true;
    const { promise } = end;
    if (planned.how === 'before it is done') {
      begun.resolve();
      await promise;
      return call();
    }
    try {
      return await call();
    } finally {
      begun.resolve();
      await promise;
    }
  }

  function wrapped<T extends object>(table: T, prefix: string): T {
    return new Proxy(table, {
      get: (target, name) => {
        const real = Reflect.get(target, name) as ((...args: unknown[]) => Promise<unknown>) | undefined;
        // It is waited for, and is no promise.
        if (real === undefined) return undefined;
        return (...args: unknown[]) =>
          run(`${prefix}${String(name)}`, async () => {
            // No power goes in a test, and it would take most of its time.
            if (name === 'sync') return undefined;
            const answer = await real(...args);
            if (name === 'close') open -= 1;
            if (name !== 'open') return answer;
            open += 1;
            return wrapped(answer as OpenFile, 'file.');
          });
      },
    });
  }

  return {
    // Taken from the proxy once, each call by its name.
    ...wrapped(localDisk, ''),
    calls,
    openFiles: () => open,
    hang(after, how) {
      planned = { call: calls.length + after, how };
      begun = Promise.withResolvers();
      end = Promise.withResolvers();
    },
    hung: () => begun.promise,
    hasHung: () => hasHung,
    goOn() {
      planned = null;
      end.resolve();
    },
  };
}
