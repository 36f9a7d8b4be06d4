import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type pg from 'pg';
import { Failure, isFailure } from '../../../policies/failure.ts';
import type { PointReader } from '../../artifact/index.ts';
import { findPostgresBinaries, type PostgresBinaries } from '../../sites/index.ts';
import { readContent } from '../content.ts';
import { type Connection, connect, connectionFromUri, libpqEnvironment } from '../postgres/connection.ts';
import { feed, runTool, startTool, tool } from '../postgres/tools.ts';
import type { RestoreOptions, RestoreResult } from '../source.ts';
import { compareDatabase } from './compare.ts';
import { dumpPart, globalsPart } from './dump-context.ts';
import { partOf, unpackDump } from './dump-files.ts';
import { rolesOf } from './globals.ts';

/**
 * Restores into an existing, empty database, in one transaction: a restore that fails leaves nothing. Owners and grants
 * come back when a superuser restores and the roles are there; otherwise everything belongs to the role that restores,
 * and the result's warnings say so. Roles are the cluster's own affair and are never made here. A dump in directory
 * format is unpacked into TMPDIR first. Throws TargetNotEmpty, TargetUnusable, UsageInvalid, ClientToolMissing, Corrupt.
 */
export async function restoreDatabase(point: PointReader, options: RestoreOptions): Promise<RestoreResult> {
  const target = connectionFromUri(options.into);
  const tools = await findPostgresBinaries(['pg_restore'], Number(point.backup.facts.toolMajor ?? 0));
  const looked = await lookAgain(point, target, options);
  if ('restored' in looked) return looked.restored;
  const { ownersArgs, warnings } = looked;
  const args = [
    '--exit-on-error',
    '--single-transaction',
    '--no-tablespaces',
    '--no-password',
    ...ownersArgs,
    `--dbname=${target.database}`,
  ];
  const restore = point.backup.content.format === 'pax-tar' ? restoreFolder : restoreStream;
  const bytes = await restore(point, options, { tools, args, target });
  return { entries: 1, bytes, warnings };
}

interface Into {
  tools: PostgresBinaries;
  args: string[];
  target: Connection;
}

async function restoreStream(
  point: PointReader,
  options: RestoreOptions,
  { tools, args, target }: Into,
): Promise<number> {
  // Ends pg_restore before it can commit when what it was fed turned out to be damaged.
  const givenUp = new AbortController();
  const running = startTool({
    program: tool(tools, 'pg_restore'),
    args: ['--format=custom', ...args],
    env: libpqEnvironment(target),
    signal: AbortSignal.any([options.signal, givenUp.signal]),
    stdin: true,
  });
  running.stdout.resume();
  const bytesTotal = partOf(point, dumpPart)?.bytes ?? 0;
  let bytes = 0;
  const content = point.content(dumpPart, options.signal);
  content.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    options.onProgress({ bytesDone: bytes, bytesTotal, entriesDone: 0 });
  });
  content.once('error', () => givenUp.abort());
  const [fed, ended] = await Promise.allSettled([feed(content, running), running.finished]);
  options.signal.throwIfAborted();
  // Damaged content is told by the reader.
  if (fed.status === 'rejected') throw fed.reason;
  if (ended.status === 'rejected') throw targetFailure(ended.reason, target);
  return bytes;
}

async function restoreFolder(
  point: PointReader,
  options: RestoreOptions,
  { tools, args, target }: Into,
): Promise<number> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'restore-'));
  try {
    const files = await unpackDump(point, path.join(scratch, 'dump'), options);
    await runTool({
      program: tool(tools, 'pg_restore'),
      args: ['--format=directory', ...args, files.dump],
      env: libpqEnvironment(target),
      signal: options.signal,
    }).catch((error: unknown) => {
      options.signal.throwIfAborted();
      throw targetFailure(error, target);
    });
    return files.bytes;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

function targetFailure(error: unknown, target: Connection): unknown {
  if (!isFailure(error, 'SourceFailed', 'SourceUnreadable')) return error;
  return new Failure(
    'TargetUnusable',
    `The restore into database "${target.database}" failed and was rolled back: ${error.message}`,
    {
      next: 'Mend what is named (an extension to install, a right to grant), then restore again.',
      cause: error,
    },
  );
}

/** An attempt before may have committed without being heard of: then all is there, and nothing is to be done. */
async function lookAgain(
  point: PointReader,
  target: Connection,
  { into, isRetry, signal }: RestoreOptions,
): Promise<Awaited<ReturnType<typeof look>> | { restored: RestoreResult }> {
  try {
    return await look(point, target, signal);
  } catch (error) {
    if (!isRetry || !isFailure(error, 'TargetNotEmpty')) throw error;
    const { differences } = await compareDatabase(point, into, signal);
    if (differences.length > 0) throw error;
    const bytes = partOf(point, dumpPart)?.bytes ?? point.backup.content.sourceBytes;
    return { restored: { entries: 1, bytes, warnings: ['an attempt before this one had restored it'] } };
  }
}

/** Looks at the target, and whether owners and grants can come back there. */
async function look(
  point: PointReader,
  target: Connection,
  signal: AbortSignal,
): Promise<{ ownersArgs: string[]; warnings: string[] }> {
  const client = await connect(target, 'restore target').catch((error: unknown) => {
    if (!(error instanceof Failure)) throw error;
    throw new Failure('TargetUnusable', error.message, {
      next: isFailure(error, 'SourceMissing')
        ? `Create it first: createdb ${target.database}`
        : 'Check the URI of the target, and its server.',
      cause: error,
    });
  });
  try {
    await assertEmpty(client, target);
    const { rows } = await client.query('SELECT rolsuper FROM pg_roles WHERE rolname = current_user');
    const without = (why: string) => ({
      ownersArgs: ['--no-owner', '--no-acl'],
      warnings: [`owners and grants were left out, everything belongs to "${target.user}": ${why}`],
    });
    if (rows[0]?.rolsuper !== true) return without(`"${target.user}" is no superuser`);
    const format = point.backup.content.format;
    if (format === 'parts' && !partOf(point, globalsPart)) return without('the point holds no roles to compare with');
    const globals = await readContent(point, globalsPart, signal).catch((error: unknown) => {
      if (format === 'pax-tar' && isFailure(error, 'Corrupt')) return null;
      throw error;
    });
    if (globals === null) return without('the point holds no roles to compare with');
    const { rows: there } = await client.query('SELECT rolname FROM pg_roles');
    const names = new Set(there.map((r) => r.rolname));
    const missing = rolesOf(globals.toString()).filter((name) => !names.has(name));
    if (missing.length === 0) return { ownersArgs: [], warnings: [] };
    return without(
      `the server has no role ${missing.slice(0, 10).join(', ')}${missing.length > 10 ? ', …' : ''}; ${globalsPart} of the point makes them`,
    );
  } finally {
    await client.end();
  }
}

/** What comes with an extension, or with the database itself, does not count. */
async function assertEmpty(client: pg.Client, target: Connection): Promise<void> {
  const { rows } = await client.query(`
    WITH own AS (
      SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    ), found AS (
      SELECT 'pg_class'::regclass AS classid, c.oid, format('%I.%I', nspname, relname) AS name
        FROM pg_class c JOIN own ON own.oid = relnamespace WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
      UNION ALL
      SELECT 'pg_proc'::regclass, p.oid, format('%I.%I()', nspname, proname) FROM pg_proc p JOIN own ON own.oid = pronamespace
      UNION ALL
      SELECT 'pg_type'::regclass, t.oid, format('%I.%I', nspname, typname)
        FROM pg_type t JOIN own ON own.oid = typnamespace WHERE typtype IN ('e', 'd', 'r')
      UNION ALL
      SELECT 'pg_namespace'::regclass, oid, format('schema %I', nspname) FROM own WHERE nspname <> 'public'
      UNION ALL
      SELECT 'pg_largeobject'::regclass, oid, format('large object %s', oid) FROM pg_largeobject_metadata
    )
    SELECT name, count(*) OVER ()::int AS total FROM found f
     WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = f.classid AND d.objid = f.oid AND d.deptype = 'e')
     ORDER BY name LIMIT 5`);
  if (rows.length === 0) return;
  const { total } = rows[0];
  const some = rows.map((r) => r.name).join(', ') + (total > rows.length ? ', …' : '');
  throw new Failure(
    'TargetNotEmpty',
    `Database "${target.database}" is not empty: it holds ${total} ${total === 1 ? 'thing' : 'things'} (${some}).`,
    {
      next: 'Create a new one ("createdb NAME") and restore into that; nothing was written.',
    },
  );
}
