import type pg from 'pg';
import { Failure } from '../../../policies/failure.ts';
import type { SourceFacts } from '../../../policies/recovery-point.ts';
import { chooseBinaries, installHint, listPostgresBinaries, type PostgresBinaries } from '../../sites/index.ts';
import { type Connection, connect } from '../postgres/connection.ts';

export interface ProbeResult {
  estimatedBytes: number;
  facts: SourceFacts;
  tools: PostgresBinaries;
  /** What a person should know, one line each. */
  warnings: string[];
}

const clientTools = ['pg_dump', 'pg_dumpall', 'pg_restore'];

/** Looks at server, tools and rights without reading data. */
export async function probe(connection: Connection, name: string): Promise<ProbeResult> {
  const all = await listPostgresBinaries(clientTools);
  const newest = chooseBinaries(all, clientTools);
  const client = await connect(connection, name);
  try {
    const { rows: number } = await client.query('SHOW server_version_num');
    const { rows: version } = await client.query('SHOW server_version');
    const major = Math.floor(Number(number[0].server_version_num) / 10_000);
    // Of the server's own major version where they are there, so that its dumps go back into its likes; else newer ones.
    const tools = all.findLast((b) => b.major >= major) ?? refuse(major, version[0].server_version, name, newest);
    const facts = { serverVersion: version[0].server_version, serverMajor: major, toolMajor: tools.major };
    return await inspect(client, connection, name, tools, facts);
  } finally {
    await client.end();
  }
}

function refuse(major: number, version: string, name: string, newest: PostgresBinaries): never {
  throw new Failure(
    'ServerTooNew',
    `${name}: the server is PostgreSQL ${version}, the newest client tools are version ${newest.major} (${newest.binDir}); pg_dump cannot read a newer server.`,
    { next: installHint(major), details: { serverMajor: major, toolMajor: newest.major } },
  );
}

async function inspect(
  client: pg.Client,
  c: Connection,
  name: string,
  tools: PostgresBinaries,
  versions: SourceFacts,
): Promise<ProbeResult> {
  const { rows } = await client.query(`
    SELECT pg_database_size(oid)::text AS bytes, pg_encoding_to_char(encoding) AS encoding,
           datcollate AS collate, datctype AS ctype, current_setting('lc_monetary') AS monetary,
           EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE c.relkind IN ('r', 'p', 'f', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema') AS filled
      FROM pg_database WHERE datname = current_database()`);
  const { bytes, encoding, collate, ctype, monetary, filled } = rows[0];
  await assertReadable(client, c, name);
  return {
    estimatedBytes: Number(bytes),
    tools,
    warnings: filled ? [] : [`the database "${c.database}" holds no table: is it the one that was meant?`],
    facts: {
      database: c.database,
      ...versions,
      encoding,
      collate,
      ctype,
      monetary,
      systemIdentifier: await systemIdentifier(client),
    },
  };
}

/** What pg_dump would fail on, after hours perhaps: relations that the role may not read, or only in part. */
async function assertReadable(client: pg.Client, c: Connection, name: string): Promise<void> {
  const { rows } = await client.query(`
    SELECT format('%I.%I', n.nspname, c.relname) AS relation,
           c.relkind <> 'S' AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS filtered
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND (NOT has_schema_privilege(n.oid, 'USAGE')
            OR NOT CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_table_privilege(c.oid, 'SELECT') END
            OR CASE WHEN c.relkind = 'S' THEN false ELSE row_security_active(c.oid) END)
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
     ORDER BY 1 LIMIT 6`);
  if (rows.length === 0) return;
  const shown =
    rows
      .slice(0, 5)
      .map((r) => r.relation)
      .join(', ') + (rows.length > 5 ? ', …' : '');
  const onlyFiltered = rows.every((r) => r.filtered);
  throw new Failure(
    'SourceUnreadable',
    `${name}: user "${c.user}" may not read ${onlyFiltered ? 'every row of ' : ''}${shown} in "${c.database}".`,
    {
      next: onlyFiltered
        ? `ALTER ROLE "${c.user}" BYPASSRLS; then run the backup again.`
        : `GRANT pg_read_all_data TO "${c.user}"; then run the backup again.`,
    },
  );
}

/** Null for roles that may not ask. */
async function systemIdentifier(client: pg.Client): Promise<string | null> {
  try {
    const { rows } = await client.query('SELECT system_identifier::text AS id FROM pg_control_system()');
    return rows[0].id;
  } catch (error) {
    if ((error as { code?: string }).code === '42501') return null;
    throw error;
  }
}
