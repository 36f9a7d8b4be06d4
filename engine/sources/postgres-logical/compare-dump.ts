import path from 'node:path';
import type { PostgresBinaries } from '../../sites/index.ts';
import { type Connection, connect, libpqEnvironment } from '../postgres/connection.ts';
import { runTool, startTool, tool } from '../postgres/tools.ts';
import type { DumpFiles } from './dump-files.ts';
import {
  compareFingerprints,
  type Fingerprint,
  fingerprintScript,
  largeObjectsTable,
  sequencesTable,
} from './fingerprint.ts';
import { type ServerFingerprint, serverFingerprint } from './fingerprint-server.ts';
import { compareObjects, objectsOf } from './objects.ts';

export interface CompareOptions {
  files: DumpFiles;
  /** Where it was restored. */
  restored: Connection;
  tools: PostgresBinaries;
  workDir: string;
  signal: AbortSignal;
}

export interface ComparedDump {
  /** In words; empty when all is equal. */
  differences: string[];
  /** What was compared, one line. */
  details: string;
}

/**
 * Compares a dump with the database it was restored into: the rows of every table, sequences and large objects, the
 * list of objects, and, where the point has it, the source's own count of the snapshot. The dump's rows come out of
 * pg_restore, the database's out of pg_dump, both as the same script.
 */
export async function compareDump({ files, restored, tools, workDir, signal }: CompareOptions): Promise<ComparedDump> {
  const env = libpqEnvironment(restored);
  const givenUp = new AbortController();
  const either = AbortSignal.any([signal, givenUp.signal]);
  const run = (program: string, args: string[]) => ({ program: tool(tools, program), args, env, signal: either });
  const fingerprint = async (program: string, args: string[]): Promise<Fingerprint> => {
    const running = startTool(run(program, args));
    const result = await fingerprintScript(running.stdout);
    await running.finished;
    return result;
  };
  const schemaFile = path.join(workDir, 'restored.schema');
  try {
    const [expected, found] = await Promise.all([
      fingerprint('pg_restore', ['--data-only', '--file=-', files.dump]),
      fingerprint('pg_dump', ['--data-only', '--no-password']),
    ]);
    await runTool(run('pg_dump', ['--format=custom', '--schema-only', '--no-password', `--file=${schemaFile}`]));
    const wanted = objectsOf(await runTool(run('pg_restore', ['--list', files.dump])));
    const there = objectsOf(await runTool(run('pg_restore', ['--list', schemaFile])));
    const differences = [...compareFingerprints(expected, found), ...compareObjects(wanted, there)];
    if (!files.fingerprint) return { differences, details: `${summary(expected, wanted)} equal the dumped snapshot` };
    differences.push(...(await compareWithSource(files.fingerprint, restored)));
    const counted = Object.keys(files.fingerprint).length;
    return {
      differences,
      details: `${summary(expected, wanted)} equal the dumped snapshot, and ${plural(counted, 'table')} what the source itself counted in it`,
    };
  } finally {
    givenUp.abort();
  }
}

/** The server's own count and hash of every table, from inside the snapshot, with those of what was restored. */
async function compareWithSource(expected: ServerFingerprint, restored: Connection): Promise<string[]> {
  const client = await connect(restored, 'isolated instance');
  try {
    const found = await serverFingerprint(client);
    return Object.entries(expected).flatMap(([table, want]) => {
      const have = found[table];
      if (have?.rows === want.rows && have.checksum === want.checksum) return [];
      if (!have) return [`${table}: the source had ${want.rows} rows, the table was not restored`];
      if (have.rows !== want.rows) return [`${table}: the source had ${want.rows} rows, restored are ${have.rows}`];
      return [`${table}: its ${want.rows} rows are not those the source had`];
    });
  } finally {
    await client.end();
  }
}

/** What was compared, in numbers. */
export function summary(expected: Fingerprint, objects?: Set<string>): string {
  const tables = [...expected].filter(([name]) => name !== sequencesTable && name !== largeObjectsTable);
  const rows = tables.reduce((sum, [, { rows }]) => sum + rows, 0);
  const sequences = expected.get(sequencesTable)?.rows ?? 0;
  const largeObjects = expected.get(largeObjectsTable)?.rows ?? 0;
  const parts = [plural(tables.length, 'table'), plural(rows, 'row'), plural(sequences, 'sequence')];
  if (largeObjects > 0) parts.push(plural(largeObjects, 'large object'));
  if (objects) parts.push(`${plural(objects.size, 'object')} of the schema`);
  return `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`;
}

function plural(n: number, word: string): string {
  return `${n.toLocaleString('en-US')} ${word}${n === 1 ? '' : 's'}`;
}
