import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseWalKey } from '../../../policies/wal-bundle.ts';
import { fileSource, type Store, verifyObject } from '../../stores/index.ts';
import { noteShipped, readShipped, stagedKeys } from './staging.ts';

export interface ShipOptions {
  /** walStaging() of the source. */
  root: string;
  source: string;
  /** All copies that WAL goes to. */
  copies: { name: string; store(): Promise<Store> }[];
  signal: AbortSignal;
  /** Once it is aborted, what is under way is finished, and nothing more begun. */
  ending: AbortSignal;
  /** Told after each object of each copy: null when it is there, verified; the error when it is not, and is tried again. */
  onCopy(copy: string, error: unknown): void;
  /** Told when all copies have an object. */
  onShipped?(): void;
}

/** How often is looked for what was sealed meanwhile. */
const lookEveryMs = 300;
const firstDelayMs = 1_000;
const delayMaxMs = 30_000;

/**
 * Puts staged WAL into every copy, in order, each copy at its own pace; reads back what was put. What all copies have is
 * noted and removed from the staging disk. A copy that fails is tried again and again: until it is there again, its WAL
 * waits here. Runs until it is told to end.
 */
export async function shipWal(options: ShipOptions): Promise<void> {
  const { root, source, copies, ending, onCopy, onShipped } = options;
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  await mkdir(root, { recursive: true, mode: 0o700 });
  const waiting = AbortSignal.any([ending, signal]);
  const held = new Map<string, Set<string>>();
  let noted = await readShipped(root);

  const shipped = async (key: string) => {
    const found = parseWalKey(source, key);
    if (found?.kind === 'range') {
      const { timeline, end, until } = found.range;
      const isLater = !noted || timeline > noted.timeline || (timeline === noted.timeline && end >= noted.end);
      if (isLater) {
        noted = { timeline, end, until, at: new Date().toISOString() };
        await noteShipped(root, noted);
      }
    }
    await rm(path.join(root, key), { force: true });
    held.delete(key);
    onShipped?.();
  };
  let order = Promise.resolve();
  const hold = (key: string, copy: string): Promise<void> => {
    const by = held.get(key) ?? new Set();
    held.set(key, by.add(copy));
    if (by.size < copies.length) return Promise.resolve();
    // One after the other: the note must never say less than it said.
    order = order.then(() => shipped(key));
    return order;
  };

  const runCopy = async ({ name, store }: ShipOptions['copies'][number]) => {
    let delayMs = firstDelayMs;
    while (!ending.aborted) {
      signal.throwIfAborted();
      const key = (await stagedKeys(root, source)).find((k) => !held.get(k)?.has(name));
      if (key === undefined) {
        await pause(lookEveryMs, waiting);
        continue;
      }
      try {
        await putVerified(await store(), key, root, { source, signal });
        onCopy(name, null);
        await hold(key, name);
        delayMs = firstDelayMs;
      } catch (error) {
        signal.throwIfAborted();
        if (isGone(error, path.join(root, key))) continue;
        onCopy(name, error);
        await pause(delayMs, waiting);
        delayMs = Math.min(delayMs * 2, delayMaxMs);
      }
    }
  };
  await Promise.all(
    copies.map((copy) =>
      runCopy(copy).catch((error: unknown) => {
        // None goes on behind the back of whoever is told that this has failed.
        failed.abort(error);
        throw error;
      }),
    ),
  );
}

async function putVerified(
  store: Store,
  key: string,
  root: string,
  { source, signal }: Pick<ShipOptions, 'source' | 'signal'>,
): Promise<void> {
  const file = await hashed(path.join(root, key));
  const found = parseWalKey(source, key);
  const metadata: Record<string, string> = { 'db-name': source };
  if (found?.kind === 'range') metadata['backup-date'] = found.range.until;
  await store.put(key, file, { metadata, signal });
  await verifyObject(store, key, file, { signal });
}

async function hashed(file: string): Promise<ReturnType<typeof fileSource>> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return fileSource(file, { bytes, sha256: hash.digest('hex') });
}

/** Another attempt, of a worker that was thought to be lost, has shipped it meanwhile. */
function isGone(error: unknown, file: string): boolean {
  const { code, path: named } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' && named === file;
}

/** Resolves when the time is over, or when all is to end. */
async function pause(ms: number, end: AbortSignal): Promise<void> {
  await setTimeout(ms, undefined, { signal: end }).catch((error: unknown) => {
    if (!end.aborted) throw error;
  });
}
