import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { Failure } from '../../../policies/failure.ts';
import { historyName, lsnText, parseHistory, type TimelineHistory } from '../../../policies/wal.ts';
import { walHistoryKey, walRangeKey } from '../../../policies/wal-bundle.ts';
import { createWalObject, type SigningKey, type WalWriter } from '../../artifact/index.ts';
import { type Connection, connect } from '../postgres/connection.ts';
import { identifySystem, setting } from '../postgres/replication.ts';
import { streamFailure } from './failures.ts';
import { createWalScanner, type WalFindings } from './scan.ts';
import { dropIfLost, ensureSlot } from './slot.ts';
import { streamWal, type WalStream } from './stream.ts';

export interface ArchiveOptions {
  /** For replication. */
  connection: Connection;
  source: { name: string; host: string };
  /** Of a replication slot, which is made when it is not there. */
  slot: string;
  /** Laid out like a store: what is sealed lies below it under its key. */
  root: string;
  recipients: string[];
  signingKey: SigningKey;
  software: string;
  /** Null for a new archive. */
  archived: ArchiveEnd | null;
  /** Begin where the slot does, whatever is archived: what would come next is no longer there. Leaves a gap. */
  anew?: boolean;
  /** Sealed when so much has come, … */
  bundleBytes?: number;
  /** … or so long after its first byte: what a disaster may take. */
  bundleMs?: number;
  /** A range without content is sealed when nothing has happened for so long: that nothing was lost can be proven. */
  idleMs?: number;
  signal: AbortSignal;
  /** Once it is aborted, what has come is sealed, and archiving ends well. */
  ending?: AbortSignal;
  /** Told of each object that was sealed, in order; the next one waits for it. */
  onSealed(key: string): Promise<void>;
  /** Up to where all copies have the WAL of a timeline, 0 for not at all: the server may remove what lies before. Asked every few seconds. */
  safe(timeline: number): bigint;
  onProgress?(progress: ArchiveProgress): void;
}

/** How far an archive reaches, the time included, and the history files that it has. */
export interface ArchiveEnd {
  timeline: number;
  end: bigint;
  until: string;
  histories: number[];
  /** Of the cluster; where it is known, WAL of another one is refused. */
  systemIdentifier?: string;
}

export interface ArchiveProgress {
  timeline: number;
  /** What has come, sealed or not. */
  received: bigint;
  /** ISO-8601, the server's clock: everything from before has come. */
  until: string;
}

const defaults = { bundleBytes: 64 * 1024 * 1024, bundleMs: 30_000, idleMs: 600_000 };
/** Servers end a connection that is silent for a minute. */
const confirmMs = 2_000;
const orderSlackMs = 1_000;

/**
 * Streams a cluster's WAL and seals it in ranges, as it comes, without waiting for a segment to be full: what a disaster
 * may take is bounded by time, also on a quiet server, and no segment needs to be switched. Follows the server onto new
 * timelines. Runs until it is told to end. Throws ChainBroken when the server no longer has what comes next, SourceMissing
 * when it is another cluster than the archive's, and what connecting and sealing throw.
 */
export async function archiveWal(options: ArchiveOptions): Promise<void> {
  const { connection, signal, source, archived } = options;
  const client = await connect(connection, source.name);
  let stream: WalStream | null = null;
  const abandon = () => stream?.abandon();
  signal.addEventListener('abort', abandon, { once: true });
  try {
    const system = await identifySystem(client);
    assertSameCluster(archived, system.systemIdentifier, options);
    if (options.anew) await dropIfLost(client, options.slot);
    const slot = await ensureSlot(client, options.slot, source.name);
    const cluster: Cluster = {
      systemIdentifier: system.systemIdentifier,
      segmentBytes: await segmentBytes(client),
      serverMajor: Math.floor(Number(await setting(client, 'server_version_num')) / 10_000),
    };
    const history = await historyOf(client, system.timeline);
    await archiveHistories(client, [...history.ancestors.map((a) => a.timeline), system.timeline], cluster, options);
    if (!slot.start) throw givenUp(options);
    // A server takes what it is told for where the slot begins, also when that is further back, where nothing is any more.
    const { lsn: least } = slot.start;
    const safe = (timeline: number) => {
      const lsn = options.safe(timeline);
      if (lsn < least) return least;
      return lsn;
    };
    let from: Start | null = startOf(options.anew ? null : archived, history, cluster, slot.start);
    while (from) {
      signal.throwIfAborted();
      stream = streamWal(client, { slot: options.slot, timeline: from.timeline, start: from.stream });
      from = await follow(stream, from, cluster, { ...options, safe });
      if (from) await archiveHistories(client, [from.timeline], cluster, options);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw streamFailure(error, connection, source.name);
  } finally {
    signal.removeEventListener('abort', abandon);
    await client.end().catch(() => {});
  }
}

function assertSameCluster(archived: ArchiveEnd | null, found: string, { connection, source }: ArchiveOptions): void {
  const known = archived?.systemIdentifier;
  if (known === undefined || known === found) return;
  throw new Failure(
    'SourceMissing',
    `${source.name}: the cluster at ${connection.host}:${connection.port} is ${found}, the archived WAL is that of ${known}.`,
    { next: 'Correct the connection; or, where it is a new cluster, make it a source with a name of its own.' },
  );
}

function givenUp({ source, slot }: ArchiveOptions): Failure {
  return new Failure('ChainBroken', `${source.name}: the server keeps no WAL for the slot ${slot} any more.`, {
    next: 'Take a new base backup: it can be recovered from there on. See why archiving had stopped.',
  });
}

interface Cluster {
  systemIdentifier: string;
  segmentBytes: number;
  serverMajor: number;
}

interface Start {
  timeline: number;
  /** Where the next range begins. */
  start: bigint;
  /** Where streaming begins: with the segment, so that the scanner knows its way when it comes to the range. */
  stream: bigint;
}

/** Where streaming goes on. */
function startOf(
  archived: ArchiveEnd | null,
  history: TimelineHistory,
  { segmentBytes }: Cluster,
  kept: { timeline: number; lsn: bigint },
): Start {
  const atSegment = (lsn: bigint) => lsn - (lsn % BigInt(segmentBytes));
  const resumed = (at: { timeline: number; end: bigint }) => {
    return { timeline: at.timeline, start: at.end, stream: atSegment(at.end) };
  };
  if (!archived) return begun(kept.timeline, atSegment(kept.lsn));
  if (archived.timeline === history.timeline) return resumed(archived);
  const left = history.ancestors.find((a) => a.timeline === archived.timeline);
  if (left && archived.end < left.until) return resumed(archived);
  // The archive is as far as where the timeline was left, or on a branch that ended: on with what came after that.
  const index = left ? history.ancestors.indexOf(left) + 1 : history.ancestors.length;
  const timeline = history.ancestors[index]?.timeline ?? history.timeline;
  return begun(timeline, atSegment(history.ancestors[index - 1]?.until ?? 0n));
}

function begun(timeline: number, start: bigint): Start {
  return { timeline, start, stream: start };
}

async function segmentBytes(client: pg.Client): Promise<number> {
  const [, value, unit] = /^(\d+)(MB|GB)$/.exec(await setting(client, 'wal_segment_size')) ?? [];
  return Number(value) * (unit === 'GB' ? 1024 ** 3 : 1024 ** 2);
}

async function readHistory(client: pg.Client, timeline: number): Promise<string> {
  const { rows } = await client.query(`TIMELINE_HISTORY ${timeline}`);
  const { content } = rows[0];
  return Buffer.isBuffer(content) ? content.toString() : String(content);
}

async function historyOf(client: pg.Client, timeline: number): Promise<TimelineHistory> {
  return timeline === 1 ? { timeline, ancestors: [] } : parseHistory(timeline, await readHistory(client, timeline));
}

/** Seals the history files of timelines that the archive has not; the first timeline has none. */
async function archiveHistories(
  client: pg.Client,
  timelines: number[],
  { systemIdentifier }: Cluster,
  options: ArchiveOptions,
): Promise<void> {
  const { archived, source, root, recipients, signingKey, software } = options;
  for (const timeline of timelines) {
    if (timeline === 1 || archived?.histories.includes(timeline)) continue;
    const text = await readHistory(client, timeline);
    const { ancestors } = parseHistory(timeline, text);
    const unique = randomBytes(4).toString('hex');
    const id = `${source.name}-${historyName(timeline)}-${unique}`;
    const writer = await createWalObject({ root, id, recipients, signingKey });
    await writer.write(Buffer.from(text));
    const key = await writer.finish((sealed) => ({
      key: walHistoryKey(source.name, timeline, unique),
      header: {
        ...sealed,
        kind: 'history',
        source,
        systemIdentifier,
        timeline,
        ancestors: ancestors.map((a) => ({ timeline: a.timeline, until: lsnText(a.until) })),
        software,
      },
    }));
    await options.onSealed(key);
  }
}

/** Archives one timeline until it ends, and says where the next one goes on; null when archiving was to end. */
async function follow(
  stream: WalStream,
  from: Start,
  cluster: Cluster,
  options: ArchiveOptions,
): Promise<Start | null> {
  const { signal, ending, source } = options;
  const limits = { ...defaults, ...withoutUndefined(options) };
  const scanner = createWalScanner();
  let writer: WalWriter | null = null;
  /** Of the range at hand. */
  let start = from.start;
  let received = from.stream;
  let until = options.archived?.until ?? new Date(0).toISOString();
  let sealedUntil = '';
  let begunMs = 0;
  let failed: { error: unknown } | null = null;

  const seal = async () => {
    const done = writer ?? (await open());
    writer = null;
    const findings = scanner.take();
    const range = { timeline: from.timeline, start, end: received, until: later(until, findings.lastAt) };
    const key = await done.finish((sealed) => ({
      key: walRangeKey(source.name, range, uniqueOf(sealed.id)),
      header: {
        ...sealed,
        kind: 'range',
        source,
        systemIdentifier: cluster.systemIdentifier,
        timeline: range.timeline,
        startLsn: lsnText(start),
        endLsn: lsnText(received),
        segmentBytes: cluster.segmentBytes,
        serverMajor: cluster.serverMajor,
        until: range.until,
        ...described(findings),
        software: options.software,
      },
    }));
    start = received;
    sealedUntil = range.until;
    await options.onSealed(key);
    stream.confirm(options.safe(from.timeline));
  };
  const open = () => {
    begunMs = Date.now();
    const id = `${source.name}-wal-${from.timeline}-${start.toString(16)}-${randomBytes(4).toString('hex')}`;
    return createWalObject({ root: options.root, id, recipients: options.recipients, signingKey: options.signingKey });
  };
  const isDue = () => {
    if (writer) return Date.now() - begunMs >= limits.bundleMs;
    return sealedUntil !== '' && Date.parse(until) - Date.parse(sealedUntil) >= limits.idleMs;
  };
  // Also wakes the loop below: the server answers, and its answer is an event.
  const timer = setInterval(() => stream.confirm(options.safe(from.timeline)), confirmMs);
  try {
    for await (const event of stream.events()) {
      signal.throwIfAborted();
      if (ending?.aborted) {
        if (writer) await seal();
        await stream.finish();
        return null;
      }
      if (event.kind === 'data') {
        if (event.lsn !== received)
          throw new Error(`WAL came at ${lsnText(event.lsn)} instead of ${lsnText(received)}`);
        const known = received < from.start ? Number(from.start - received) : 0;
        received += BigInt(event.bytes.length);
        scanner.scan(event.lsn, event.bytes.subarray(0, known));
        // What was found so far is told by the ranges that the archive has.
        if (known > 0) scanner.take();
        if (known >= event.bytes.length) continue;
        const bytes = event.bytes.subarray(known);
        scanner.scan(event.lsn + BigInt(known), bytes);
        writer ??= await open();
        await writer.write(bytes);
        if (writer.bytes >= limits.bundleBytes) await seal();
      } else if (event.kind === 'caught up') {
        if (received < from.start) continue;
        until = event.at;
        sealedUntil ||= until;
        options.onProgress?.({ timeline: from.timeline, received, until });
        if (isDue()) await seal();
      } else {
        if (writer) await seal();
        return begun(event.next, event.at - (event.at % BigInt(cluster.segmentBytes)));
      }
    }
    throw new Error('the server ended the stream without a next timeline');
  } catch (error) {
    failed = { error };
    throw error;
  } finally {
    clearInterval(timer);
    if (failed) await (writer as WalWriter | null)?.abandon();
  }
}

/**
 * While much is still to come, what is known of times is the transactions that ended. They stand in their order, but for
 * what passes between taking the time and writing it down.
 */
function later(until: string, lastAt: number | null): string {
  return new Date(Math.max(Date.parse(until), (lastAt ?? 0) - orderSlackMs)).toISOString();
}

function uniqueOf(id: string): string {
  return id.slice(-8);
}

function described({ transactions, firstAt, lastAt, xids, restorePoints }: WalFindings) {
  const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
  return {
    transactions: { count: transactions, firstAt: iso(firstAt), lastAt: iso(lastAt), xids },
    restorePoints: restorePoints.map((p) => ({ name: p.name, lsn: lsnText(p.lsn), at: new Date(p.at).toISOString() })),
  };
}

function withoutUndefined({ bundleBytes, bundleMs, idleMs }: ArchiveOptions) {
  return Object.fromEntries(
    Object.entries({ bundleBytes, bundleMs, idleMs }).filter(([, v]) => v !== undefined),
  ) as Partial<typeof defaults>;
}
