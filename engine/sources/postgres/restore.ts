import { pipeline } from 'node:stream/promises';
import { Failure } from '../../../policies/failure.ts';
import type { PointReader } from '../../artifact/index.ts';
import { findPostgresBinaries } from '../../sites/index.ts';
import type { RestoreOptions, RestoreResult } from '../source.ts';
import { type Connection, connect, connectionFromUri, libpqEnvironment } from './connection.ts';
import { tool } from './probe.ts';
import { dumpPart } from './seal.ts';
import { startTool } from './tools.ts';

/**
 * Restores into an existing, empty database, in one transaction: a restore that fails leaves nothing. Owners and grants
 * are left to the role that restores; roles are the cluster's own affair. Throws TargetNotEmpty, TargetUnusable.
 */
export async function restoreDatabase(point: PointReader, options: RestoreOptions): Promise<RestoreResult> {
  const target = connectionFromUri(options.into);
  const tools = await findPostgresBinaries(['pg_restore'], Number(point.backup.facts.toolMajor ?? 0));
  await assertEmpty(target);
  const running = startTool({
    program: tool(tools, 'pg_restore'),
    args: ['--format=custom', '--exit-on-error', '--single-transaction', '--no-owner', '--no-acl', '--no-password', `--dbname=${target.database}`],
    env: libpqEnvironment(target),
    signal: options.signal,
    stdin: true,
  });
  running.stdout.resume();
  const part = point.backup.content.parts?.find((p) => p.path === dumpPart);
  let bytes = 0;
  const content = point.content(dumpPart, options.signal);
  content.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    options.onProgress({ bytesDone: bytes, bytesTotal: part?.bytes ?? 0, entriesDone: 0 });
  });
  const [fed, ended] = await Promise.allSettled([pipeline(content, running.stdin), running.finished]);
  // A pipe breaks because the tool ended, and the tool knows why; damaged content is told by the reader.
  if (ended.status === 'rejected' && fed.status === 'rejected' && isBrokenPipe(fed.reason)) throw targetFailure(ended.reason, target);
  if (fed.status === 'rejected' && !isBrokenPipe(fed.reason)) throw fed.reason;
  if (ended.status === 'rejected') throw targetFailure(ended.reason, target);
  return { entries: 1, bytes, warnings: [] };
}

function isBrokenPipe(error: unknown): boolean {
  return ['EPIPE', 'ERR_STREAM_PREMATURE_CLOSE', 'ECONNRESET'].includes((error as NodeJS.ErrnoException).code ?? '');
}

function targetFailure(error: unknown, target: Connection): unknown {
  if (!(error instanceof Failure)) return error;
  return new Failure('TargetUnusable', `The restore into database "${target.database}" failed and was rolled back: ${error.message}`, {
    next: 'Mend what is named (an extension to install, a right to grant), then restore again.',
    cause: error,
  });
}

async function assertEmpty(target: Connection): Promise<void> {
  const client = await connect(target, 'restore target').catch((error: unknown) => {
    if (!(error instanceof Failure)) throw error;
    throw new Failure('TargetUnusable', error.message, { next: error.next, cause: error });
  });
  try {
    const { rows } = await client.query(`
      SELECT format('%I.%I', n.nspname, c.relname) AS name, count(*) OVER ()::int AS total
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
         AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('e', 'i', 'a'))
       ORDER BY 1 LIMIT 5`);
    if (rows.length === 0) return;
    throw new Failure('TargetNotEmpty', `Database "${target.database}" is not empty: it has ${rows[0].total} relations (${rows.map((r) => r.name).join(', ')}).`, {
      next: `Create a new one ("createdb NAME") and restore into that; nothing was written.`,
    });
  } finally {
    await client.end();
  }
}
