import type { Readable } from 'node:stream';

/**
 * A place where sealed bytes live. All implementations pass one conformance suite (test/engine/stores/conformance.ts).
 *
 * Keys are '/'-separated names in well-formed Unicode without control characters: at most 1,024 bytes of UTF-8, each
 * name at most 255, none empty, '.' or '..', the first not starting with '.' (such names are the store's own, and never
 * listed); anything else is `UsageInvalid`. A store of folders cannot hold both `a` and `a/b`: the later one of the two
 * is `ObjectExists`.
 *
 * Objects are written once. In a bucket with versions an object therefore is its first version: what somebody laid over it
 * later, another version or a marker that it is deleted, is not seen, and goes with it.
 *
 * Every method, and every stream that `get` returned, throws `Failure`: StoreUnreachable, StoreFull and
 * ChecksumMismatch may be retried; StoreDenied, BucketMissing, ObjectExists, ObjectMissing, CapabilityMissing and
 * UsageInvalid may not. An aborted signal throws its reason or an AbortError instead. Messages name the store, the
 * bucket or folder, and the key, and carry no secret. Methods are safe to repeat: a put that already happened with the
 * same bytes (same SHA-256) succeeds, a delete of what is gone succeeds.
 */
export interface Store {
  /** The copy's name in the policy, e.g. `offsite`. */
  readonly name: string;
  readonly kind: 'directory' | 's3';
  /**
   * What this very server has for these credentials, found by trying it, not assumed; what could not be tried is not
   * claimed. Cached after the first call. A folder is tried with files that are gone again afterwards. A bucket keeps one
   * small object, `.probe`, written once: no delete or overwrite is needed, and a bucket that locks by default locks it
   * like any other.
   */
  capabilities(): Promise<StoreCapabilities>;

  /** Fails with the right type when the place does not exist, refuses, or cannot be reached. Writes nothing. */
  check(): Promise<void>;
  /** What the store's own clock says now, ISO-8601: the one by which `modifiedAt` is told. May be some seconds behind. */
  clock(): Promise<string>;

  /**
   * Stores the source under the key, whole or not at all, and never over another object (`ObjectExists`, unless the
   * object there has the same length and SHA-256: then it returns that object's facts, and locks it when asked to). Of
   * several puts of one key at once, one wins. Bytes that are not as promised are a ChecksumMismatch, and nothing is
   * stored. Equivalent to `completePut(await beginPut(...))`: what a put that failed otherwise had sent stays pending,
   * to be resumed or aborted.
   */
  put(key: string, source: PutSource, options: PutOptions): Promise<StoredObject>;

  /**
   * Transfers the bytes without making the object visible. `options.resume` continues an earlier attempt: parts the
   * server already has are not sent again. A token that is of no use (aborted, completed, of another put) is ignored.
   * Progress carries the token to resume from.
   *
   * Of a source that still grows, bytes are sent as they come; this resolves once it has ended and all are there. The
   * object is made before its SHA-256 is known: a store may then keep none (`head` tells null).
   */
  beginPut(key: string, source: PutSource | GrowingSource, options: PutOptions): Promise<PendingPut>;
  /**
   * Makes the object visible under its key, atomically; fails with ObjectExists if another object got there first, and
   * then frees what was pending. Safe to repeat when its answer was lost; ObjectMissing when the put was aborted.
   */
  completePut(pending: PendingPut): Promise<StoredObject>;
  /** Frees what a pending put holds. Idempotent. */
  abortPut(pending: PendingPut): Promise<void>;
  /**
   * Puts begun under the prefix and neither completed nor aborted, of any process: what a sweep removes. They may be
   * aborted, or resumed by their token; a server that does not keep length and SHA-256 tells 0 and ''.
   */
  listPending(prefix: string): AsyncIterable<PendingPut & { startedAt: string }>;

  /**
   * The object's bytes, or `length` of them from `offset`: a range past the end is cut, one of no bytes is empty, and one
   * that starts past the end is UsageInvalid (at the very end too, unless the object is empty). Chunks are the reader's
   * own. A reader that stops early destroys the stream, which frees its socket or file.
   */
  get(key: string, range?: { offset: number; length?: number }, signal?: AbortSignal): Promise<Readable>;
  head(key: string): Promise<StoredObject>;
  /** Every object whose key starts with the prefix, in key order (UTF-8 bytes), streaming. */
  list(prefix: string): AsyncIterable<ListedObject>;
  /** Copies within this store, server-side where it can, with metadata and tags. Same rules as put. */
  copy(from: string, to: string): Promise<StoredObject>;
  /**
   * Removes the object, in a versioned bucket with all its versions, so that its space is free. Idempotent. StoreDenied
   * when it is locked or held: then it is there as before.
   */
  delete(key: string): Promise<void>;

  /** Replaces the object's tags. CapabilityMissing where the store has none. */
  setTags(key: string, tags: Record<string, string>): Promise<void>;
  getTags(key: string): Promise<Record<string, string>>;
  /** Object Lock until the given time (ISO-8601). CapabilityMissing where the store has none. */
  lock(key: string, mode: 'compliance' | 'governance', until: string): Promise<void>;
  /** Legal hold on or off. CapabilityMissing where the store has none. */
  hold(key: string, on: boolean): Promise<void>;

  /** Releases sockets and handles. */
  close(): Promise<void>;
}

export interface StoreCapabilities {
  /** Puts under a condition (If-None-Match) are honoured by the server. */
  conditionalPut: boolean;
  /** The server itself verifies SHA-256 on receipt. */
  checksums: boolean;
  resume: boolean;
  tags: boolean;
  metadata: boolean;
  storageClass: boolean;
  sse: boolean;
  lock: boolean;
  versioning: boolean;
}

/** Bytes that can be read again from any offset, so that a put can resume. */
export interface PutSource {
  readonly bytes: number;
  /** Lower-case hex SHA-256 of all the bytes, known before the put; checked against what arrives. */
  readonly sha256: string;
  /** A stream of exactly `length` bytes from `offset`; its chunks are the reader's own. */
  open(offset: number, length: number): Readable;
}

/** What an object's bytes are: how many, and their SHA-256 in lower-case hex. */
export type ObjectFacts = Pick<PutSource, 'bytes' | 'sha256'>;

/** Bytes that are still being written, from the first to the last; what is there does not change any more. */
export interface GrowingSource {
  /**
   * Resolves to null once so many bytes are there, and in any case once there are no more to come: then to what they all
   * are. Rejects when they will never be whole.
   */
  reach(bytes: number, signal?: AbortSignal): Promise<ObjectFacts | null>;
  /** A stream of exactly `length` bytes from `offset`, which were reached; its chunks are the reader's own. */
  open(offset: number, length: number): Readable;
}

export interface PutOptions {
  /**
   * User metadata, e.g. `{ 'backup-date': …, 'db-name': … }`: names in lower-case letters, digits and '-', any text as
   * values; `sha256` is the store's own. Dropped, and said so in capabilities, where unsupported.
   */
  metadata?: Record<string, string>;
  tags?: Record<string, string>;
  /** Retention from the moment of writing, where the policy asks for it. CapabilityMissing where the store has none. */
  lock?: { mode: 'compliance' | 'governance'; until: string };
  /** A token from an earlier attempt's progress or PendingPut.token. */
  resume?: string;
  onProgress?: (progress: PutProgress) => void;
  signal?: AbortSignal;
}

export interface PutProgress {
  /** Bytes the server holds so far, including those of earlier attempts. */
  bytesDone: number;
  /** 0 as long as nobody knows. */
  bytesTotal: number;
  /** Opaque, small (≤ 1 KiB), free of secrets; goes into an activity heartbeat. */
  resume: string;
}

/** Bytes that are there but not visible. Plain data: it may travel through a workflow. */
export interface PendingPut {
  key: string;
  bytes: number;
  sha256: string;
  /** Opaque, ≤ 1 KiB: upload id and the like. */
  token: string;
}

export interface ListedObject {
  key: string;
  bytes: number;
  /** The store's clock, ISO-8601. */
  modifiedAt: string;
}

export interface StoredObject extends ListedObject {
  /** Of all the bytes, lower-case hex; null where the store does not keep it. */
  sha256: string | null;
  metadata: Record<string, string>;
  storageClass: string | null;
  /** `AES256`, `aws:kms` or null. */
  sse: string | null;
  versionId: string | null;
  lockedUntil: string | null;
  held: boolean;
}
