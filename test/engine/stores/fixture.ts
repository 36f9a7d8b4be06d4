import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { bytesSource, type Store } from '../../../engine/stores/index.ts';
import type { GrowingSource, PendingPut, PutSource, StoreCapabilities } from '../../../engine/stores/store.ts';

/** What a kind of store brings, so that the suites can try it. */
export interface StoreFixture {
  /** Another handle on the same place, as a second process would have it. The fixture closes it. */
  open(): Store;
  /** Longer objects are sent in parts of this length, where the store sends parts. */
  partBytes: number;
  /** What this server is known to have. */
  has: StoreCapabilities;
  /** Whether `a` and `a/b` can both be objects. */
  nests: boolean;
  /** Whether the server tells when uploads began. Default true; moto has one date for all of them. */
  dates?: boolean;
  /** Whether the server takes an empty set of tags. Default true; moto breaks on it. */
  untags?: boolean;
  /** Whether the server is now and then unreachable for a moment when several ask at once. Default false; moto was once. */
  falters?: boolean;
  remove(): Promise<void>;
}

/** What the suites of this folder work on; set when their tests run. */
export interface StoreUnderTest {
  readonly store: Store;
  readonly fixture: StoreFixture;
}

/** A prefix that nobody else uses, so that tests of one place do not meet. */
export const ownPrefix = () => `t${randomBytes(6).toString('hex')}/`;

export const sha256Of = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** Bytes that no other length shares, quickly made. */
export function content(bytes: number, salt = 0): Buffer {
  const out = Buffer.alloc(bytes);
  const word = createHash('sha256').update(`${bytes}-${salt}`).digest();
  for (let at = 0; at < bytes; at += word.length) word.copy(out, at);
  // No two pages alike: bytes that end up in the wrong place are seen.
  for (let at = 0; at + 8 <= bytes; at += 4096) out.writeDoubleLE(at, at);
  return out;
}

export interface TroubledSource {
  bytes: Buffer;
  /** What is promised, where it is not the truth. */
  promise?: { bytes?: number; sha256?: string };
  /** The source breaks when a byte from here on is read. */
  breaksAt?: number;
  /** Called before each read. */
  onOpen?: (offset: number, length: number) => void;
}

/** A source that is not what it says, or does not last. */
export function troubled({ bytes, promise, breaksAt = Number.POSITIVE_INFINITY, onOpen }: TroubledSource): PutSource {
  return {
    bytes: bytes.length,
    sha256: sha256Of(bytes),
    ...promise,
    open(offset, length) {
      onOpen?.(offset, length);
      async function* chunks() {
        const end = Math.min(bytes.length, offset + length);
        for (let at = offset; at < end; at += 65_536) {
          if (at + 65_536 > breaksAt) throw new Error('the source broke');
          yield Buffer.from(bytes.subarray(at, Math.min(end, at + 65_536)));
        }
      }
      return Readable.from(chunks(), { objectMode: false });
    },
  };
}

export interface ByHand extends GrowingSource {
  grow(bytes: Uint8Array): ByHand;
  /** @param sha256 what it says of itself, where that is not the truth */
  end(sha256?: string): ByHand;
  giveUp(error: Error): ByHand;
}

/** A source that grows when it is told to. */
export function growing(): ByHand {
  let bytes = Buffer.alloc(0);
  let end: { bytes: number; sha256: string } | null = null;
  let failure: Error | null = null;
  let changed = Promise.withResolvers<void>();
  const change = () => {
    changed.resolve();
    changed = Promise.withResolvers<void>();
    return source;
  };
  const source: ByHand = {
    async reach(wanted, signal) {
      for (;;) {
        signal?.throwIfAborted();
        if (failure) throw failure;
        if (end) return end;
        if (bytes.length >= wanted) return null;
        const aborted = Promise.withResolvers<void>();
        signal?.addEventListener('abort', () => aborted.resolve(), { once: true });
        await Promise.race([changed.promise, aborted.promise]);
      }
    },
    open: (offset, length) => Readable.from([Buffer.from(bytes.subarray(offset, offset + length))]),
    grow(more) {
      bytes = Buffer.concat([bytes, more]);
      return change();
    },
    end(sha256 = sha256Of(bytes)) {
      end = { bytes: bytes.length, sha256 };
      return change();
    },
    giveUp(error) {
      failure = error;
      return change();
    },
  };
  return source;
}

export const put = (store: Store, key: string, bytes: Uint8Array | string, options = {}) =>
  store.put(key, bytesSource(bytes), options);

export async function bytesOf(store: Store, key: string, range?: { offset: number; length?: number }): Promise<Buffer> {
  return Buffer.concat((await all(await store.get(key, range))) as Buffer[]);
}

export const textOf = async (store: Store, key: string) => (await bytesOf(store, key)).toString();

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const out: T[] = [];
  for await (const item of items) out.push(item);
  return out;
}

export const keysOf = async (store: Store, prefix: string) => (await all(store.list(prefix))).map((o) => o.key);

export const pendingOf = async (store: Store, prefix: string): Promise<PendingPut[]> => all(store.listPending(prefix));

/** The type of the Failure that the work ends with. */
export async function failureType(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    return (error as { type?: string }).type ?? `no Failure: ${String(error)}`;
  }
  return 'it did not fail';
}
