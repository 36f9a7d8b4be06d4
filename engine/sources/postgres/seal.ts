import { PassThrough, Readable } from 'node:stream';
import type { PostgresLogicalSource } from '../../../policies/policy.ts';
import type { ArtifactWriter, Entry } from '../../artifact/index.ts';
import type { SealOptions, SealResult } from '../source.ts';
import { type Connection, libpqEnvironment } from './connection.ts';
import { serverFingerprint } from './fingerprint-server.ts';
import { type ProbeResult, probe, tool } from './probe.ts';
import { openSnapshot, type Snapshot } from './snapshot.ts';
import { startTool } from './tools.ts';

export const dumpPart = 'database.dump';
export const globalsPart = 'globals.sql';
export const fingerprintPart = 'fingerprint.json';

/**
 * Seals one database: pg_dump's custom format inside an exported snapshot, uncompressed, for our own threads compress
 * it; then roles and tablespaces; then, where the policy asks for it, the server's own fingerprint of that snapshot.
 */
export async function sealDatabase(
  policy: PostgresLogicalSource,
  connection: Connection,
  writer: ArtifactWriter,
  options: SealOptions,
): Promise<SealResult> {
  const probed = await probe(connection, policy.name);
  const warnings: string[] = [];
  const snapshot = await openSnapshot(connection, policy.name);
  // Ends the tools when something else fails, e.g. the staging disk: nobody would read what they print.
  const givenUp = new AbortController();
  const signal = AbortSignal.any([options.signal, givenUp.signal]);
  try {
    const parts: NonNullable<SealResult['content']['parts']> = [];
    let done = 0;
    const add = async (path: string, content: Readable, finished: Promise<void>) => {
      await writer.entry(partEntry(path, snapshot));
      const base = done;
      const place = await writer.stream(content, (bytes) => {
        options.onProgress({ bytesDone: base + bytes, bytesTotal: probed.estimatedBytes, entriesDone: parts.length });
      });
      await finished;
      done += place.bytes;
      parts.push({ path, offset: place.contentOffset, bytes: place.bytes });
    };

    await add(dumpPart, ...dump(connection, probed, snapshot, signal));
    if (policy.fingerprint === 'source') {
      const text = JSON.stringify(await serverFingerprint(snapshot.client));
      await add(fingerprintPart, Readable.from([Buffer.from(text)]), Promise.resolve());
    }
    if (policy.globals) await addGlobals(add, connection, probed, warnings, signal);
    return {
      capturedAt: snapshot.at,
      facts: { ...probed.facts, snapshotLsn: snapshot.lsn },
      warnings,
      content: { format: 'parts', bytes: done, sourceBytes: done, entries: parts.length, parts, unstable: 0 },
    };
  } finally {
    givenUp.abort();
    await snapshot.close();
  }
}

function dump(c: Connection, { tools }: ProbeResult, snapshot: Snapshot, signal: AbortSignal): [Readable, Promise<void>] {
  const running = startTool({
    program: tool(tools, 'pg_dump'),
    args: ['--format=custom', '--compress=0', `--snapshot=${snapshot.id}`, '--no-password', '--lock-wait-timeout=60s'],
    env: libpqEnvironment(c),
    signal,
  });
  return [running.stdout.pipe(new PassThrough({ highWaterMark: 4 * 1024 * 1024 })), running.finished];
}

/** Only a superuser reads the roles' passwords; others get the roles without them, and are told. */
async function addGlobals(
  add: (path: string, content: Readable, finished: Promise<void>) => Promise<void>,
  c: Connection,
  { tools }: ProbeResult,
  warnings: string[],
  signal: AbortSignal,
): Promise<void> {
  const env = libpqEnvironment(c);
  const program = tool(tools, 'pg_dumpall');
  const args = ['--globals-only', '--no-password', `--database=${c.database}`];
  const text = await collect(startTool({ program, args, env, signal })).catch(async (error: unknown) => {
    if (signal.aborted) throw error;
    warnings.push(`roles were saved without their passwords: user "${c.user}" may not read them`);
    return collect(startTool({ program, args: [...args, '--no-role-passwords'], env, signal }));
  });
  await add(globalsPart, Readable.from([text]), Promise.resolve());
}

async function collect(running: ReturnType<typeof startTool>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of running.stdout) chunks.push(chunk as Buffer);
  await running.finished;
  return Buffer.concat(chunks);
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
