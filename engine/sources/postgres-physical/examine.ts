import type pg from 'pg';
import type { SourceFacts } from '../../../policies/recovery-point.ts';
import type { PostgresBinaries } from '../../sites/index.ts';
import { connect, libpqEnvironment } from '../postgres/connection.ts';
import { quoted } from '../postgres/quoting.ts';
import { askTool, tool } from '../postgres/tools.ts';
import { hostFault, type Isolated, sessionOptions } from './isolated.ts';

export interface Examination {
  /** In words; empty when all is well. */
  problems: string[];
  /** What was looked at, one line. */
  details: string;
}

export interface ExamineOptions {
  tools: PostgresBinaries;
  facts: SourceFacts;
  signal: AbortSignal;
}

const problemsMax = 10;
const jobs = 2;
/**
 * Looks at a recovered cluster from within: opens every database, reads every row, has pg_amcheck look at every table
 * and index, and at last, the server stopped, pg_checksums at every page. The server is stopped afterwards.
 */
export async function examineCluster(
  isolated: Isolated,
  { tools, facts, signal }: ExamineOptions,
): Promise<Examination> {
  const problems: string[] = [];
  const databases: Database[] = [];
  for (const name of await databasesOf(isolated)) {
    const found = await read(isolated, name, signal);
    if (typeof found === 'string') problems.push(`${name}: ${found}`);
    else databases.push(found);
  }
  const notes: string[] = [];
  for (const [names, args] of byCollation(databases)) {
    const found = await amcheck(isolated, names, { tools, args, signal });
    problems.push(...found);
    if (args.length > 0) {
      notes.push(`indexes of ${names.join(', ')} not checked, for this host sorts texts by another version`);
    }
  }
  await isolated.stop();
  const pages = facts.dataChecksums === true ? await checksums(isolated.dataDir, { tools, facts, signal }) : null;
  problems.push(...(pages?.problems ?? []));
  const tables = databases.reduce((sum, d) => sum + d.tables, 0);
  const rows = databases.reduce((sum, d) => sum + d.rows, 0n);
  const damaged = Number(facts.damagedPages ?? 0);
  const count = (n: number | bigint, word: string) =>
    `${n.toLocaleString('en-US')} ${word}${n === 1 || n === 1n ? '' : 's'}`;
  const details = [
    `${count(databases.length, 'database')}, ${count(tables, 'table')}, ${count(rows, 'row')} read`,
    damaged > 0 ? `damaged as the source was: ${problems.slice(0, 3).join(', ')}` : 'pg_amcheck found nothing',
    pages?.details ?? 'without page checksums, which this cluster does not have',
    ...notes,
  ].join('; ');
  // A source that was known to be damaged comes back as damaged as it was.
  return { problems: damaged > 0 ? [] : problems.slice(0, problemsMax), details };
}

interface Database {
  name: string;
  tables: number;
  rows: bigint;
  /** Texts in indexes are sorted here as they were there. */
  sameCollation: boolean;
}

async function databasesOf(isolated: Isolated): Promise<string[]> {
  const client = await connect(isolated.connection('template1'), 'isolated instance');
  try {
    const { rows } = await client.query('SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname');
    return rows.map((r) => String(r.datname));
  } finally {
    await client.end();
  }
}

/** Opens a database and reads every row; in words what keeps it from that. Throws what is this host's fault. */
async function read(isolated: Isolated, name: string, signal: AbortSignal): Promise<Database | string> {
  let client: pg.Client | null = null;
  try {
    client = await connect(isolated.connection(name), name);
    await client.query('SET row_security = off');
    const { rows: collation } = await client.query(`
      SELECT datcollversion IS NOT DISTINCT FROM pg_database_collation_actual_version(d.oid) AND NOT EXISTS (
               SELECT FROM pg_index i CROSS JOIN unnest(i.indcollation::oid[]) AS k (oid) JOIN pg_collation c ON c.oid = k.oid
                WHERE c.collversion <> pg_collation_actual_version(c.oid)) AS same
        FROM pg_database d WHERE datname = current_database()`);
    const { rows: tables } = await client.query(`
      SELECT format('%I.%I', n.nspname, c.relname) AS name
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'`);
    let rows = 0n;
    for (const table of tables) {
      signal.throwIfAborted();
      const { rows: counted } = await client.query(`SELECT count(*)::text AS rows FROM ONLY ${table.name}`);
      rows += BigInt(counted[0].rows);
    }
    return { name, tables: tables.length, rows, sameCollation: collation[0].same };
  } catch (error) {
    signal.throwIfAborted();
    const { message } = error as Error;
    const fault = hostFault(message);
    if (fault) throw fault;
    return message;
  } finally {
    await client?.end();
  }
}

/** Databases together with the arguments that pg_amcheck needs for them. */
function byCollation(databases: Database[]): [names: string[], args: string[]][] {
  const names = (same: boolean) => databases.filter((d) => d.sameCollation === same).map((d) => d.name);
  const groups: [string[], string[]][] = [
    [names(true), []],
    // An index that was sorted by other rules is no damage.
    [names(false), ['--no-dependent-indexes', '--exclude-index=*.*']],
  ];
  return groups.filter(([list]) => list.length > 0);
}

async function amcheck(
  isolated: Isolated,
  databases: string[],
  { tools, args, signal }: { tools: PostgresBinaries; args: string[]; signal: AbortSignal },
): Promise<string[]> {
  const { status, said } = await askTool({
    program: tool(tools, 'pg_amcheck'),
    args: [
      '--install-missing',
      '--no-password',
      `--jobs=${jobs}`,
      ...args,
      // As a pattern, which quotes take literally.
      ...databases.map((name) => `--database=${quoted(name)}`),
    ],
    env: { ...libpqEnvironment(isolated.connection('template1')), PGOPTIONS: sessionOptions },
    signal,
  });
  if (status === 0) return [];
  const lines = said
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  return lines.length > 0 ? lines.slice(0, problemsMax) : [`pg_amcheck ended with ${status}`];
}

async function checksums(dataDir: string, { tools, facts, signal }: ExamineOptions): Promise<Examination> {
  const { status, said } = await askTool({
    program: tool(tools, 'pg_checksums'),
    args: ['--check', '--pgdata', dataDir],
    env: { PATH: process.env.PATH, LC_ALL: 'C' },
    signal,
  });
  const blocks = Number(/Blocks scanned:\s+(\d+)/.exec(said)?.[1] ?? 0).toLocaleString('en-US');
  if (status === 0) return { problems: [], details: `the checksums of ${blocks} pages match` };
  const lines = said.split('\n').filter((line) => /error: /.test(line));
  const damaged = Number(facts.damagedPages ?? 0);
  return {
    problems: lines.length > 0 ? lines.slice(0, problemsMax) : [`pg_checksums ended with ${status}`],
    details: `${blocks} pages, of which the source had ${damaged} damaged`,
  };
}
