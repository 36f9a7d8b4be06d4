import { mkdirSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import {
  generateIdentity,
  generateSigningKey,
  publicKeyOf,
  readSigningKey,
  recipientOf,
  type SigningKey,
} from '../../engine/artifact/index.ts';
import { rekeyWal, walInCopies } from '../../engine/keys/index.ts';
import { replicationOf } from '../../engine/sources/postgres/connection.ts';
import { type ArchiveProgress, archiveWal } from '../../engine/sources/wal/archive.ts';
import { endOf, listWal, type WalContents } from '../../engine/sources/wal/contents.ts';
import { verifyWal } from '../../engine/sources/wal/verify.ts';
import { createDirectoryStore, type Store } from '../../engine/stores/index.ts';
import { postgresPhysicalSource } from '../../policies/policy.ts';
import { password } from './source-physical-fixture.ts';

/** A store with WAL of the source `cluster`, and the keys to it. */
export interface WalPlace {
  root: string;
  store: Store;
  identity: string;
  recipient: string;
  signingKey: SigningKey;
  trusted: string[];
  contents(): Promise<WalContents>;
}

export async function makeWalPlace(root: string): Promise<WalPlace> {
  mkdirSync(root, { recursive: true });
  const identity = await generateIdentity();
  const signingKey = readSigningKey(generateSigningKey());
  const store = createDirectoryStore({ name: 'archive', path: root });
  const trusted = [publicKeyOf(signingKey)];
  return {
    root,
    store,
    identity,
    recipient: await recipientOf(identity),
    signingKey,
    trusted,
    contents: () => listWal({ store, source: 'cluster', trusted }),
  };
}

export interface RunningArchive {
  /** Keys sealed so far. */
  keys: string[];
  progress: ArchiveProgress | null;
  /** Waits until all that the server had written by now is sealed. */
  caughtUp(sql: (statement: string) => Promise<Record<string, unknown>[]>): Promise<void>;
  /** Ends it, and returns what it ended with. */
  stop(): Promise<unknown>;
  /** What it ends with by itself. */
  ended: Promise<unknown>;
}

export interface ArchiveHere {
  port: number;
  bundleBytes?: number;
  bundleMs?: number;
  idleMs?: number;
  slot?: string;
  /** Up to where the server may forget; by default all that is sealed. */
  safe?: () => bigint;
}

/** Archives the WAL of the server at a port, going on where the place's archive ends. */
export async function startArchive(
  place: WalPlace,
  { port, bundleBytes, bundleMs = 200, idleMs, slot = 'backup_cluster', safe }: ArchiveHere,
): Promise<RunningArchive> {
  const policy = postgresPhysicalSource.parse({
    name: 'cluster',
    kind: 'postgres-physical',
    connection: { host: '127.0.0.1', port, user: 'saver', password: 'env:X' },
  });
  const controller = new AbortController();
  const archived = endOf(await place.contents());
  const stopped = new Error('stopped');
  let sealed = archived?.end ?? 0n;
  const running: RunningArchive = {
    keys: [],
    progress: null,
    ended: archiveWal({
      connection: await replicationOf(policy, async () => password),
      source: { name: 'cluster', host: 'local' },
      slot,
      root: place.root,
      recipients: [place.recipient],
      signingKey: place.signingKey,
      software: 'tests',
      archived,
      bundleMs,
      ...(bundleBytes === undefined ? {} : { bundleBytes }),
      ...(idleMs === undefined ? {} : { idleMs }),
      signal: controller.signal,
      async onSealed(key) {
        running.keys.push(key);
        sealed = endOf(await place.contents())?.end ?? sealed;
      },
      safe: safe ?? (() => sealed),
      onProgress: (p) => {
        running.progress = { ...p };
      },
    }).then(
      () => null,
      (error: unknown) => error,
    ),
    async caughtUp(sql) {
      const [row] = await sql(
        `SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END - '0/0')::text AS n`,
      );
      const wanted = BigInt(String(row?.n));
      const ended = running.ended.then((error) => {
        throw error instanceof Error ? error : new Error(String(error));
      });
      ended.catch(() => {});
      while (sealed < wanted) await Promise.race([setTimeout(50), ended]);
    },
    async stop() {
      controller.abort(stopped);
      const error = await running.ended;
      if (error !== stopped) throw error;
      return error;
    },
  };
  return running;
}

/** Looks at all of the place's archive; without an identity at what is in clear. */
export const verified = (wal: WalPlace, identity: string | undefined = wal.identity) =>
  verifyWal({ store: wal.store, source: 'cluster', trusted: wal.trusted, ...(identity ? { identity } : {}) });

/** Wraps the keys of all of the place's WAL for somebody else, whose identity it returns, and who opens all of it then. */
export async function handOver({ store, trusted, identity }: WalPlace): Promise<string> {
  const successor = await generateIdentity();
  const recipients = [await recipientOf(successor)];
  const onFailure = (_: Store, error: unknown) => {
    throw error;
  };
  for await (const object of walInCopies([store], 'cluster', { onFailure })) {
    const { copies } = await rekeyWal({
      ...{ source: 'cluster', object, trusted, identity, recipients },
      lockMode: () => undefined,
    });
    if (copies.some((c) => c.state !== 'added')) throw new Error(`${object.key} has no key for them`);
  }
  return successor;
}
