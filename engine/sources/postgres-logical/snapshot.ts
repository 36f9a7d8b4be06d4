import type pg from 'pg';
import { type Connection, connect } from '../postgres/connection.ts';

/** A moment of the database, held open so that other connections can read the very same one. */
export interface Snapshot {
  /** For `SET TRANSACTION SNAPSHOT` and `pg_dump --snapshot`. */
  id: string;
  /** ISO-8601, the server's clock. */
  at: string;
  /** Write-ahead log position, null on servers that do not tell. */
  lsn: string | null;
  client: pg.Client;
  close(): Promise<void>;
}

export async function openSnapshot(connection: Connection, name: string): Promise<Snapshot> {
  const client = await connect(connection, name);
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await client.query('SET idle_in_transaction_session_timeout = 0');
    await client.query('SET statement_timeout = 0');
    const { rows } = await client.query(`
      SELECT pg_export_snapshot() AS id, to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS at,
             CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text AS lsn`);
    const { id, at, lsn } = rows[0];
    return { id, at, lsn, client, close: async () => client.end().catch(() => {}) };
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
}
