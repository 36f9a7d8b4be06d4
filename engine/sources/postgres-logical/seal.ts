import { Readable } from 'node:stream';
import type { PostgresLogicalSource } from '../../../policies/policy.ts';
import type { ArtifactWriter, Entry } from '../../artifact/index.ts';
import { type Connection, libpqEnvironment } from '../postgres/connection.ts';
import { startTool, tool } from '../postgres/tools.ts';
import type { SealOptions, SealResult } from '../source.ts';
import { type DumpContext, dumpArguments, dumpPart, fingerprintPart, globalsPart } from './dump-context.ts';
import { serverFingerprint } from './fingerprint-server.ts';
import { dumpGlobals } from './globals.ts';
import { probe } from './probe.ts';
import { sealDirectoryDump } from './seal-directory.ts';
import { openSnapshot, type Snapshot } from './snapshot.ts';

/**
 * Seals one database as of one exported snapshot: pg_dump's custom or directory format, uncompressed, for our own
 * threads compress it; then, where the policy asks for it, the server's own fingerprint of that snapshot; then roles
 * and tablespaces.
 */
export async function sealDatabase(
  policy: PostgresLogicalSource,
  connection: Connection,
  writer: ArtifactWriter,
  options: SealOptions,
): Promise<SealResult> {
  const probed = await probe(connection, policy.name);
  const snapshot = await openSnapshot(connection, policy.name);
  // Ends the tools when something else fails, e.g. the staging disk: nobody would read what they print.
  const givenUp = new AbortController();
  const signal = AbortSignal.any([options.signal, givenUp.signal]);
  const context: DumpContext = { policy, connection, probed, snapshot, signal };
  try {
    const seal = policy.format === 'directory' ? sealDirectoryDump : sealParts;
    const { content, warnings } = await seal(context, writer, options);
    const facts = { ...probed.facts, snapshotLsn: snapshot.lsn };
    return { capturedAt: snapshot.at, facts, warnings: [...probed.warnings, ...warnings], content };
  } finally {
    givenUp.abort();
    await snapshot.close();
  }
}

async function sealParts(
  { policy, connection, probed, snapshot, signal }: DumpContext,
  writer: ArtifactWriter,
  options: SealOptions,
): Promise<Pick<SealResult, 'content' | 'warnings'>> {
  const parts: NonNullable<SealResult['content']['parts']> = [];
  const warnings: string[] = [];
  let done = 0;
  const add = async (path: string, content: Readable) => {
    await writer.entry(partEntry(path, snapshot));
    const base = done;
    const place = await writer.stream(content, (bytes) => {
      options.onProgress({ bytesDone: base + bytes, bytesTotal: probed.estimatedBytes, entriesDone: parts.length });
    });
    done += place.bytes;
    parts.push({ path, offset: place.contentOffset, bytes: place.bytes });
  };

  const dump = startTool({
    program: tool(probed.tools, 'pg_dump'),
    args: ['--format=custom', ...dumpArguments(snapshot)],
    env: libpqEnvironment(connection),
    signal,
    bulk: true,
  });
  // Nothing of it lies in the snapshot, so it need not wait.
  const dumpingGlobals = policy.globals ? dumpGlobals(connection, probed.tools, signal) : null;
  dumpingGlobals?.catch(() => {});
  // A dump that ends early looks like one that ends: only its exit status tells them apart.
  await add(dumpPart, dump.stdout);
  await dump.finished;
  if (policy.fingerprint === 'source') {
    const text = JSON.stringify(await serverFingerprint(snapshot.client));
    await add(fingerprintPart, Readable.from([Buffer.from(text)]));
  }
  const globals = await dumpingGlobals;
  if (globals) {
    warnings.push(...globals.warnings);
    await add(globalsPart, Readable.from([Buffer.from(globals.sql)]));
  }
  return {
    warnings,
    content: { format: 'parts', bytes: done, sourceBytes: done, entries: parts.length, parts, unstable: 0 },
  };
}

function partEntry(path: string, snapshot: Snapshot): Entry {
  const ns = `${Date.parse(snapshot.at)}000000`;
  return {
    path: Buffer.from(path),
    type: 'file',
    mode: 0o600,
    uid: 0,
    gid: 0,
    user: 'root',
    group: 'root',
    mtimeNs: ns,
    ctimeNs: ns,
    dev: '0',
    ino: '0',
    size: 0,
    streamed: true,
  };
}
