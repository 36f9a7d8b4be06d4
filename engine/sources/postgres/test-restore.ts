import { createWriteStream } from 'node:fs';
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Check } from '../../../policies/recovery-point.ts';
import type { PointReader } from '../../artifact/index.ts';
import { createPostgresInstance, findPostgresBinaries, type PostgresBinaries, type PostgresInstance } from '../../sites/index.ts';
import { readContent } from '../content.ts';
import { checkFromDamage, failedCheck, passedCheck } from '../checks.ts';
import type { TestRestoreOptions } from '../source.ts';
import { connect, connectionFromUri, libpqEnvironment } from './connection.ts';
import { compareFingerprints, type Fingerprint, fingerprintScript, sequencesTable } from './fingerprint.ts';
import { type ServerFingerprint, serverFingerprint } from './fingerprint-server.ts';
import { dumpPart, fingerprintPart, globalsPart } from './seal.ts';
import { runTool, startTool } from './tools.ts';
import { tool } from './probe.ts';
import { Failure, isFailure } from '../../../policies/failure.ts';

const database = 'restored';
/** A throw-away server: nothing in it need survive a crash. */
const settings = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  maintenance_work_mem: '128MB',
  autovacuum: 'off',
};

export interface DatabaseTestRestoreOptions extends TestRestoreOptions {
  /** For tests: does something to the restored database before it is compared. */
  beforeCompare?: (uri: string) => Promise<void>;
}

/**
 * Restores into a PostgreSQL server of its own (own folder, own port, destroyed afterwards) and compares every table's
 * rows with the dump's, the sequences, the large objects and the list of objects.
 */
export async function testRestoreDatabase(point: PointReader, options: DatabaseTestRestoreOptions): Promise<Check[]> {
  const { workDir, signal } = options;
  const from = performance.now();
  await mkdir(workDir, { recursive: true, mode: 0o711 });
  let instance: PostgresInstance | null = null;
  const dumpFile = path.join(workDir, dumpPart);
  try {
    const tools = await findPostgresBinaries(
      ['postgres', 'initdb', 'pg_ctl', 'pg_restore', 'pg_dump', 'psql'],
      Number(point.backup.facts.serverMajor ?? 0),
    );
    instance = await createPostgresInstance({ dataDir: path.join(workDir, 'pgdata'), binDir: tools.binDir, settings });
    const dumpBytes = await restore(point, instance, tools, dumpFile, options);
    const restored = passedCheck(
      'restore_test',
      performance.now() - from,
      `${dumpBytes} bytes of dump restored into an isolated PostgreSQL ${tools.major}, port ${instance.port}`,
    );
    await options.beforeCompare?.(instance.uri(database));
    const compareFrom = performance.now();
    const { differences, details } = await compare(point, instance, tools, dumpFile, signal);
    const took = performance.now() - compareFrom;
    if (differences.length === 0) return [restored, passedCheck('content', took, details)];
    return [restored, failedCheck('content', took, differences.slice(0, 10).join('; '))];
  } catch (error) {
    if (signal.aborted) throw error;
    // pg_restore's refusal is a finding about the point; what kept it from being tried is not.
    const finding = isFailure(error, 'SourceFailed') ? new Failure('ValidationFailed', error.message, { next: error.next }) : error;
    return [checkFromDamage('restore_test', performance.now() - from, finding)];
  } finally {
    await instance?.destroy();
    await rm(dumpFile, { force: true });
    await rm(path.join(workDir, globalsPart), { force: true });
  }
}

async function restore(
  point: PointReader,
  instance: PostgresInstance,
  tools: PostgresBinaries,
  dumpFile: string,
  { workDir, signal, onProgress }: DatabaseTestRestoreOptions,
): Promise<number> {
  const env = (db: string) => libpqEnvironment({ ...connectionFromUri(instance.uri(db)), sslmode: 'disable' });
  const part = (name: string) => point.backup.content.parts?.find((p) => p.path === name);
  if (part(globalsPart)) {
    const file = path.join(workDir, globalsPart);
    const text = (await readContent(point, globalsPart, signal)).toString();
    // Tablespaces name folders of the production machine, which this server must not touch.
    const roles = text.split('\n').filter((l) => !/^(CREATE|ALTER|GRANT .* ON|COMMENT ON) TABLESPACE /.test(l)).join('\n');
    await writeFile(file, roles, { mode: 0o600 });
    // Without ON_ERROR_STOP: the role that made the server exists already.
    await runTool({ program: tool(tools, 'psql'), args: ['-X', '-q', '-d', 'postgres', '-f', file], env: env('postgres'), signal });
  }
  const client = await connect({ ...connectionFromUri(instance.uri()), sslmode: 'disable' }, 'isolated instance');
  try {
    await client.query(`CREATE DATABASE ${database} TEMPLATE template0 ENCODING '${String(point.backup.facts.encoding ?? 'UTF8').replaceAll("'", '')}'`);
  } finally {
    await client.end();
  }
  const total = part(dumpPart)?.bytes ?? 0;
  let bytes = 0;
  const content = point.content(dumpPart, signal);
  content.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    onProgress({ bytesDone: bytes, bytesTotal: total, entriesDone: 0 });
  });
  await pipeline(content, createWriteStream(dumpFile, { mode: 0o600 }));
  await chmod(dumpFile, 0o600);
  await runTool({
    program: tool(tools, 'pg_restore'),
    args: ['--exit-on-error', '--no-tablespaces', '--jobs=2', `--dbname=${database}`, dumpFile],
    env: env(database),
    signal,
  });
  return bytes;
}

async function compare(
  point: PointReader,
  instance: PostgresInstance,
  tools: PostgresBinaries,
  dumpFile: string,
  signal: AbortSignal,
): Promise<{ differences: string[]; details: string }> {
  const connection = { ...connectionFromUri(instance.uri(database)), sslmode: 'disable' as const };
  const env = libpqEnvironment(connection);
  const script = async (program: string, args: string[]): Promise<Fingerprint> => {
    const running = startTool({ program: tool(tools, program), args, env, signal });
    const fingerprint = await fingerprintScript(running.stdout);
    await running.finished;
    return fingerprint;
  };
  const list = (args: string[]) => runTool({ program: tool(tools, 'pg_restore'), args, env, signal });
  const schemaFile = `${dumpFile}.schema`;
  try {
    const expected = await script('pg_restore', ['--data-only', '--file=-', dumpFile]);
    const found = await script('pg_dump', ['--data-only', '--no-password']);
    await runTool({ program: tool(tools, 'pg_dump'), args: ['--format=custom', '--schema-only', `--file=${schemaFile}`], env, signal });
    const wanted = objectsOf(await list(['--list', dumpFile]));
    const there = objectsOf(await list(['--list', schemaFile]));
    const differences = [...compareFingerprints(expected, found), ...compareObjects(wanted, there)];
    const fromServer = await compareWithSource(point, instance, signal);
    differences.push(...fromServer.differences);
    const sequences = expected.get(sequencesTable)?.rows ?? 0;
    const tables = [...expected.keys()].filter((t) => !t.startsWith('('));
    const rows = tables.reduce((sum, t) => sum + (expected.get(t)?.rows ?? 0), 0);
    return {
      differences,
      details: `${tables.length} tables, ${rows} rows, ${sequences} sequences and ${wanted.size} objects equal the dumped snapshot${fromServer.note}`,
    };
  } finally {
    await rm(schemaFile, { force: true });
  }
}

/** With `fingerprint: source`, the server's own count and hash from inside the snapshot. */
async function compareWithSource(
  point: PointReader,
  instance: PostgresInstance,
  signal: AbortSignal,
): Promise<{ differences: string[]; note: string }> {
  if (!point.backup.content.parts?.some((p) => p.path === fingerprintPart)) return { differences: [], note: '' };
  const expected: ServerFingerprint = JSON.parse((await readContent(point, fingerprintPart, signal)).toString());
  const client = await connect({ ...connectionFromUri(instance.uri(database)), sslmode: 'disable' }, 'isolated instance');
  try {
    const found = await serverFingerprint(client);
    const differences = Object.entries(expected).flatMap(([table, want]) => {
      const have = found[table];
      if (have?.rows === want.rows && have.checksum === want.checksum) return [];
      return [`${table}: the source's snapshot had ${want.rows} rows with hash ${want.checksum}, restored are ${have?.rows ?? 0} with ${have?.checksum ?? 'none'}`];
    });
    return { differences, note: `, and ${Object.keys(expected).length} tables equal what the source itself counted` };
  } finally {
    await client.end();
  }
}

/** Data, and what only exists on the way into a database, is not in a schema-only dump. */
const notSchema = /^(TABLE DATA|SEQUENCE SET|BLOBS?|BLOB METADATA|LARGE OBJECTS?|MATERIALIZED VIEW DATA|STATISTICS DATA|DATABASE|DATABASE PROPERTIES|ACL LARGE OBJECTS?|(ACL|COMMENT) - LARGE OBJECT) /;

/** `pg_restore --list` lines as "KIND schema name", without numbers and owner. */
function objectsOf(list: string): Set<string> {
  const objects = new Set<string>();
  for (const line of list.split('\n')) {
    const match = /^\d+; \d+ \d+ (.+) \S+$/.exec(line);
    const what = match?.[1];
    if (what && !notSchema.test(`${what} `) && !/LARGE OBJECT|^SCHEMA - public$|SCHEMA public/.test(what)) objects.add(what);
  }
  return objects;
}

function compareObjects(wanted: Set<string>, there: Set<string>): string[] {
  return [
    ...[...wanted].filter((o) => !there.has(o)).map((o) => `${o} was not restored`),
    ...[...there].filter((o) => !wanted.has(o)).map((o) => `${o} is there but not in the dump`),
  ];
}
