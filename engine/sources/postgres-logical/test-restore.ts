import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { Failure, isFailure } from '../../../policies/failure.ts';
import type { Check, SourceFacts } from '../../../policies/recovery-point.ts';
import type { PointReader } from '../../artifact/index.ts';
import {
  createPostgresInstance,
  findPostgresBinaries,
  type PostgresBinaries,
  type PostgresInstance,
  reapInstances,
} from '../../sites/index.ts';
import { checkFromDamage, failedCheck, passedCheck } from '../checks.ts';
import { type Connection, connect, connectionFromUri, libpqEnvironment } from '../postgres/connection.ts';
import { throwawaySettings } from '../postgres/throwaway-settings.ts';
import { runTool, tool } from '../postgres/tools.ts';
import type { TestRestoreOptions } from '../source.ts';
import { compareDump } from './compare-dump.ts';
import { type DumpFiles, unpackDump } from './dump-files.ts';
import { applyGlobals, ensureRoles, rolesNamedIn } from './globals.ts';

const database = 'restored';
const jobs = 2;
export interface DatabaseTestRestoreOptions extends TestRestoreOptions {
  /** For tests: does something to the restored database before it is compared. */
  beforeCompare?: (uri: string) => Promise<void>;
}

/**
 * Restores into a PostgreSQL server of its own (own folder, own port, destroyed afterwards) and compares every table's
 * rows with the dump's, the sequences, the large objects and the list of objects. The server is of the major version
 * of the tools that dumped, or the nearest newer one.
 */
export async function testRestoreDatabase(point: PointReader, options: DatabaseTestRestoreOptions): Promise<Check[]> {
  const { workDir, signal } = options;
  const { facts } = point.backup;
  const from = performance.now();
  const place = { dataDir: path.join(workDir, 'pgdata'), unpacked: path.join(workDir, 'dump') };
  let instance: PostgresInstance | null = null;
  try {
    await mkdir(workDir, { recursive: true, mode: 0o700 });
    // What an attempt that was killed has left.
    await reapInstances(workDir);
    await rm(place.unpacked, { recursive: true, force: true });
    const tools = await findPostgresBinaries(
      ['postgres', 'initdb', 'pg_restore', 'pg_dump'],
      Math.max(Number(facts.serverMajor ?? 0), Number(facts.toolMajor ?? 0)),
    );
    const files = await unpackDump(point, place.unpacked, options);
    signal.throwIfAborted();
    instance = await createPostgresInstance({
      dataDir: place.dataDir,
      binDir: tools.binDir,
      settings: throwawaySettings,
      // Everybody on this machine reaches its port, and behind it lies what was backed up.
      password: randomBytes(18).toString('hex'),
    });
    const uri = instance.uri(database);
    const connectionTo = (to: string): Connection => ({ ...connectionFromUri(to), sslmode: 'disable' });
    await prepareServer(connectionTo(instance.uri()), files, facts, tools, signal);
    await runTool({
      program: tool(tools, 'pg_restore'),
      args: [
        '--exit-on-error',
        '--no-tablespaces',
        '--no-password',
        `--jobs=${jobs}`,
        `--dbname=${database}`,
        files.dump,
      ],
      env: libpqEnvironment(connectionTo(uri)),
      signal,
    });
    const restored = passedCheck(
      'restore_test',
      performance.now() - from,
      `${files.bytes.toLocaleString('en-US')} bytes of dump restored into an isolated PostgreSQL ${tools.major}`,
    );
    await options.beforeCompare?.(uri);
    const compareFrom = performance.now();
    const { differences, details } = await compareDump({
      files,
      restored: connectionTo(uri),
      tools,
      workDir: place.unpacked,
      signal,
    });
    const took = performance.now() - compareFrom;
    if (differences.length === 0) return [restored, passedCheck('content', took, details)];
    return [restored, failedCheck('content', took, inWords(differences))];
  } catch (error) {
    if (signal.aborted) throw error;
    return [checkFromDamage('restore_test', performance.now() - from, asFinding(error))];
  } finally {
    await instance?.destroy();
    await reapInstances(workDir);
    await rm(`${place.dataDir}.log`, { force: true });
    await rm(place.unpacked, { recursive: true, force: true });
  }
}

/** pg_restore's refusal is a finding about the point; what kept it from being tried is not. */
function asFinding(error: unknown): unknown {
  if (!isFailure(error, 'SourceFailed', 'SourceUnreadable') || !error.message.startsWith('pg_restore ')) return error;
  return new Failure('ValidationFailed', error.message, {
    next: 'Look at its message: is an extension that the database uses missing on the validation host?',
    cause: error,
  });
}

function inWords(differences: string[]): string {
  const shown = differences.slice(0, 10).join('; ');
  return differences.length > 10 ? `${shown}; and ${differences.length - 10} differences more` : shown;
}

/** Makes the roles that the dump names, and an empty database like the one that was dumped. */
async function prepareServer(
  server: Connection,
  files: DumpFiles,
  facts: SourceFacts,
  tools: PostgresBinaries,
  signal: AbortSignal,
): Promise<void> {
  const env = libpqEnvironment(server);
  const schema = await runTool({
    program: tool(tools, 'pg_restore'),
    args: ['--schema-only', '--file=-', files.dump],
    env,
    signal,
  });
  const list = await runTool({ program: tool(tools, 'pg_restore'), args: ['--list', files.dump], env, signal });
  const owners = list.split('\n').flatMap((line) => /^\d+; \d+ \d+ .+ (\S+)$/.exec(line)?.[1] ?? []);
  const client = await connect(server, 'isolated instance');
  try {
    if (files.globals !== null) await applyGlobals(client, files.globals);
    await ensureRoles(client, [...rolesNamedIn(schema), ...owners]);
    await createLike(client, facts);
  } finally {
    await client.end();
  }
}

/** With the source's encoding and, where this machine knows it, its locale: comparisons and case depend on that. */
async function createLike(client: Awaited<ReturnType<typeof connect>>, facts: SourceFacts): Promise<void> {
  const literal = (value: unknown) => `'${String(value).replaceAll("'", "''")}'`;
  const encoding = literal(facts.encoding ?? 'UTF8');
  const { rows } = await client.query(
    'SELECT collname, pg_encoding_to_char(collencoding) AS encoding FROM pg_collation',
  );
  const known = (wanted: unknown) =>
    rows.some((r) => r.collname === wanted && (r.encoding === '' || literal(r.encoding) === encoding));
  const fallback = encoding === "'UTF8'" && known('C.utf8') ? 'C.utf8' : 'C';
  const locale = (wanted: unknown) =>
    literal(known(wanted) ? wanted : wanted === 'C' || wanted === 'POSIX' ? wanted : fallback);
  await client.query(
    `CREATE DATABASE ${database} TEMPLATE template0 ENCODING ${encoding}
       LC_COLLATE ${locale(facts.collate)} LC_CTYPE ${locale(facts.ctype)}`,
  );
  // Amounts of type money are written as the source's locale has it.
  if (known(facts.monetary))
    await client.query(`ALTER DATABASE ${database} SET lc_monetary = ${literal(facts.monetary)}`);
}
