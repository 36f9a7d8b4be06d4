import path from 'node:path';
import type pg from 'pg';
import { Failure } from '../../../policies/failure.ts';
import type { SourceFacts } from '../../../policies/recovery-point.ts';
import { findPostgresBinaries, type PostgresBinaries } from '../../sites/index.ts';
import { type Connection, connect } from './connection.ts';

export interface ProbeResult {
  estimatedBytes: number;
  facts: SourceFacts;
  tools: PostgresBinaries;
}

const clientTools = ['pg_dump', 'pg_dumpall', 'pg_restore'];

/** Looks at server, tools and rights without reading data. */
export async function probe(connection: Connection, name: string): Promise<ProbeResult> {
  const tools = await findPostgresBinaries(clientTools);
  const client = await connect(connection, name);
  try {
    return await inspect(client, connection, name, tools);
  } finally {
    await client.end();
  }
}

async function inspect(client: pg.Client, c: Connection, name: string, tools: PostgresBinaries): Promise<ProbeResult> {
  const { rows } = await client.query(`
    SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
           pg_database_size(current_database())::text AS bytes,
           (SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()) AS encoding`);
  const server = rows[0];
  const major = Math.floor(server.number / 10_000);
  if (major > tools.major) {
    throw new Failure('ServerTooNew', `${name}: the server is PostgreSQL ${server.version}, the client tools in ${tools.binDir} are version ${tools.major}; pg_dump cannot read a newer server.`, {
      next: `Install the client tools of version ${major} (on Debian: apt-get install postgresql-client-${major}), or name them in PG_BIN_DIRS.`,
    });
  }
  await assertReadable(client, c, name);
  return {
    estimatedBytes: Number(server.bytes),
    tools,
    facts: {
      database: c.database,
      serverVersion: server.version,
      serverMajor: major,
      toolMajor: tools.major,
      encoding: server.encoding,
      systemIdentifier: await systemIdentifier(client),
    },
  };
}

async function assertReadable(client: pg.Client, c: Connection, name: string): Promise<void> {
  const { rows } = await client.query(`
    SELECT format('%I.%I', n.nspname, c.relname) AS relation
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'm', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND (NOT has_schema_privilege(n.oid, 'USAGE')
            OR NOT CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_table_privilege(c.oid, 'SELECT') END)
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
     ORDER BY 1 LIMIT 6`);
  if (rows.length === 0) return;
  const shown = rows.slice(0, 5).map((r) => r.relation).join(', ') + (rows.length > 5 ? ', …' : '');
  throw new Failure('SourceUnreadable', `${name}: user "${c.user}" may not read ${shown} in "${c.database}".`, {
    next: `GRANT pg_read_all_data TO "${c.user}"; then run the backup again.`,
  });
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

/** The full path of a client tool. */
export function tool(tools: PostgresBinaries, program: string): string {
  return path.join(tools.binDir, program);
}
