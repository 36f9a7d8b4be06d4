import { parentPort } from 'node:worker_threads';
import { type FailureType, isFailure } from '../policies/failure.ts';
import { oneByOne } from './one-by-one.ts';

/** What goes to a side thread and comes back, and the end of it that is there. */

/** Each takes nothing, or plain data that can be posted. */
export type Calls = Record<string, (input: never) => unknown>;

export interface SideRequest {
  id: number;
  name: string;
  input: unknown;
}

export type SideReply = { value: unknown } | { failed: Failed };

export interface Failed {
  message: string;
  /** Null for an error that is none of ours. */
  failure: { type: FailureType; next: string } | null;
  /** What the operating system's errors come with; of others nothing. */
  system: Pick<NodeJS.ErrnoException, 'code' | 'errno' | 'syscall' | 'path'>;
}

/** Posted in the place of a request: there will be no more. */
export const endOfWork = 'end';

/** Answers what is asked of this thread, each request once the one before has been answered. */
export function serveCalls(calls: Calls): void {
  const inTurn = oneByOne();
  parentPort?.on('message', (request: SideRequest | typeof endOfWork) => {
    if (request === endOfWork) {
      parentPort?.close();
      return;
    }
    void inTurn(async () => parentPort?.postMessage({ ...(await done(calls, request)), id: request.id }));
  });
}

async function done(calls: Calls, { name, input }: SideRequest): Promise<SideReply> {
  try {
    const call = calls[name];
    if (!call) throw new TypeError(`this thread knows no ${name}`);
    return { value: await call(input as never) };
  } catch (error) {
    return { failed: failed(error) };
  }
}

function failed(error: unknown): Failed {
  const { code, errno, syscall, path } = error as NodeJS.ErrnoException;
  return {
    message: error instanceof Error ? error.message : String(error),
    failure: isFailure(error) ? { type: error.type, next: error.next } : null,
    system: { ...(code && { code }), ...(errno && { errno }), ...(syscall && { syscall }), ...(path && { path }) },
  };
}
