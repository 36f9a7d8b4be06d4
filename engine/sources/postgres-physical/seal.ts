import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { divergence } from '../../../policies/chain.ts';
import { Failure } from '../../../policies/failure.ts';
import type { PostgresPhysicalSource } from '../../../policies/policy.ts';
import { type ArtifactWriter, type Base, type EntryIndex, indexEntries, type Progress } from '../../artifact/index.ts';
import { type Connection, connect } from '../postgres/connection.ts';
import { holdWal } from '../postgres/replication.ts';
import type { SealOptions, SealResult } from '../source.ts';
import { type BackupEvent, type BaseBackup, baseBackup, type Tablespace } from './base-backup.ts';
import { backupFailure, damageOf } from './failures.ts';
import { createMemberSealer, type MemberSealer } from './members.ts';
import { pageRuleFor } from './pages.ts';
import { type Cluster, inspectCluster } from './probe.ts';
import { ByteReader, readTar } from './untar.ts';

const warningsMax = 100;
/** Of a standby, or of a recovery under way: a restored cluster must not follow them. */
const leftOut = ['standby.signal', 'recovery.signal'];

/**
 * Seals a whole cluster from one base backup: data directory and tablespaces as one tree (`pg_tblspc/OID/…`), the WAL
 * that makes it consistent, and its backup manifest. The server reads every file once, and verifies page checksums.
 * Compared with a base, only the pages and blocks that have changed since are stored.
 */
export async function sealCluster(
  policy: PostgresPhysicalSource,
  connection: Connection,
  writer: ArtifactWriter,
  options: SealOptions,
): Promise<SealResult> {
  const { signal } = options;
  const client = await connect(connection, policy.name);
  const warnings: string[] = [];
  const damage = damageOf(client, (line) => {
    if (warnings.length < warningsMax) warnings.push(line);
  });
  let backup: BaseBackup | null = null;
  let index: EntryIndex | null = null;
  const abandon = () => backup?.abandon();
  signal.addEventListener('abort', abandon, { once: true });
  try {
    const cluster = await inspectCluster(client, policy.name);
    const since = options.base ? startOf(options.base, cluster, policy.name) : null;
    const ruleFor = pageRuleFor(cluster.facts, since);
    index = options.base ? await indexEntries(options.base, options.scratchDir) : null;
    const unheld = await holdWal(client, `backup_${randomBytes(6).toString('hex')}`);
    if (unheld !== null) warnings.push(`the server could not be made to keep its WAL for the backup: ${unheld}`);
    signal.throwIfAborted();
    backup = baseBackup(client, { label: policy.name, checkpoint: policy.checkpoint });
    const members = createMemberSealer(writer, options.scratchDir, { index, ruleFor });
    const captured = await capture(backup, { cluster, members, options });
    if (captured.refused) damage.judge(captured.refused, policy);
    const content = await members.finish();
    return {
      capturedAt: captured.at,
      warnings,
      facts: {
        ...cluster.facts,
        ...captured.facts,
        damagedPages: damage.pages(),
      },
      content: { format: index ? 'blocks' : 'pax-tar', ...content, unstable: 0 },
    };
  } catch (error) {
    signal.throwIfAborted();
    throw backupFailure(error, connection, policy.name);
  } finally {
    signal.removeEventListener('abort', abandon);
    await index?.close();
    await client.end().catch(() => {});
  }
}

/** Where the base began. Throws SourceFailed when the cluster is no longer what it was when the base was chosen. */
function startOf(base: Base, { facts }: Cluster, name: string): string {
  const why = divergence('postgres-physical', base.facts, facts);
  if (why === null) return String(base.facts.startLsn);
  throw new Failure('SourceFailed', `${name} cannot be compared with ${base.id} any more: ${why}.`, {
    next: 'Nothing is to be done: it is tried again by itself, as a full backup.',
  });
}

interface Capture {
  cluster: Cluster;
  members: MemberSealer;
  options: SealOptions;
}

interface Captured {
  at: string;
  facts: Record<string, string | number | null>;
  /** What the server said after it had sent everything: it found damage. */
  refused: unknown;
}

async function capture(backup: BaseBackup, { cluster, members, options }: Capture): Promise<Captured> {
  const { onProgress, scratchDir } = options;
  const events = backup.events();
  let ahead: BackupEvent | null = null;
  const take = async (): Promise<BackupEvent | null> => {
    const event = ahead ?? (await events.next()).value ?? null;
    ahead = null;
    return event;
  };
  const progress: Progress = { bytesDone: 0, bytesTotal: 0, entriesDone: 0 };
  async function* data(): AsyncGenerator<Buffer> {
    for (let event = await take(); event; event = await take()) {
      if (event.kind !== 'data') {
        ahead = event;
        return;
      }
      progress.bytesDone += event.bytes.length;
      onProgress(progress);
      yield event.bytes;
    }
  }

  const captured: Captured = { at: new Date().toISOString(), facts: {}, refused: null };
  await members.folder('', cluster.mode);
  for (;;) {
    let event: BackupEvent | null;
    try {
      event = await take();
    } catch (error) {
      if (captured.facts.endLsn === undefined) throw error;
      captured.refused = error;
      return captured;
    }
    switch (event?.kind) {
      case 'start':
        progress.bytesTotal = event.tablespaces.reduce((sum, t) => sum + t.bytes, 0);
        captured.facts = { startLsn: event.lsn, timeline: event.timeline, tablespaces: outside(event.tablespaces) };
        break;
      case 'archive':
        await readArchive(event.tablespace, new ByteReader(data()));
        break;
      case 'manifest':
        await addManifest(path.join(scratchDir, 'backup_manifest'), data());
        break;
      case 'end':
        captured.facts.endLsn = event.lsn;
        captured.facts.stoppedAt = new Date().toISOString();
        break;
      case undefined:
        return captured;
    }
  }

  async function readArchive(tablespace: string | null, reader: ByteReader): Promise<void> {
    const below = tablespace === null ? '' : `pg_tblspc/${tablespace}/`;
    for await (const member of readTar(reader)) {
      progress.entriesDone++;
      const isTablespace = member.type === 'symlink' && /^pg_tblspc\/\d+$/.test(member.path);
      if (tablespace === null && leftOut.includes(member.path)) await reader.skip(member.size);
      // What it links to is part of the tree.
      else if (isTablespace) await members.folder(member.path, 0o700, member);
      else await members.add({ ...member, path: below + member.path }, (into) => reader.fill(into));
      // The last thing that is read of the cluster: what was committed by now, a restore brings back.
      if (member.path === 'global/pg_control') captured.at = new Date().toISOString();
    }
  }

  /** Its length is known at its end only: by way of the scratch disk. */
  async function addManifest(file: string, content: AsyncIterable<Buffer>): Promise<void> {
    await pipeline(Readable.from(copied(content)), createWriteStream(file, { mode: 0o600, flags: 'wx' }));
    const { size } = await stat(file);
    const reader = new ByteReader(createReadStream(file) as AsyncIterable<Buffer>);
    await members.add({ ...members.like, path: 'backup_manifest', size }, (into) => reader.fill(into));
  }
}

function outside(tablespaces: Tablespace[]): string | null {
  const found = tablespaces.filter((t) => t.oid !== null && t.location?.startsWith('/'));
  return found.length === 0 ? null : JSON.stringify(found.map(({ oid, location }) => ({ oid, location })));
}

/** For who reads ahead. */
async function* copied(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) yield Buffer.from(chunk);
}
