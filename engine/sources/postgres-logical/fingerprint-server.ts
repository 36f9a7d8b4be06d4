import type pg from 'pg';

/** Per table: row count, and the sum of its rows' 64-bit hashes, computed by the server itself. */
export type ServerFingerprint = Record<string, { rows: string; checksum: string }>;

/**
 * Counts and hashes every ordinary table within the connection's transaction. Reads every table once more; the rows
 * never leave the server. hashtextextended is stable between servers of one major version.
 */
export async function serverFingerprint(client: pg.Client): Promise<ServerFingerprint> {
  // A row's text must not depend on the server's settings.
  await client.query(`
    SET search_path = ''; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET lc_monetary = 'C';
    SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET row_security = off`);
  const { rows: tables } = await client.query(`
    SELECT format('%I.%I', n.nspname, c.relname) AS name
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
     ORDER BY 1`);
  const result: ServerFingerprint = {};
  for (const { name } of tables) {
    const { rows } = await client.query(
      `SELECT count(*)::text AS rows, coalesce(sum(hashtextextended(t::text, 0)), 0)::text AS checksum FROM ONLY ${name} t`,
    );
    result[name] = rows[0];
  }
  return result;
}
