import { readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type pg from 'pg';
import { z } from 'zod';
import type { Canary } from '../../../policies/canary.ts';

/**
 * The canary: a small table of the source's own, into which a row is written every now and then. Rows of more than a day
 * go again.
 */
const table = 'backup_canary.rows';

/** Makes the table where it is not there; takes the right to create a schema then, and none afterwards. */
async function ensureTable(client: pg.Client): Promise<void> {
  const { rows } = await client.query(`SELECT to_regclass('${table}') IS NOT NULL AS there`);
  if (rows[0]?.there) return;
  await client.query('CREATE SCHEMA IF NOT EXISTS backup_canary');
  await client.query(`CREATE TABLE IF NOT EXISTS ${table} (source text NOT NULL, at timestamptz NOT NULL)`);
}

/** Writes a row. Null on a standby, where nothing can be written. */
export async function writeCanary(client: pg.Client, source: string): Promise<{ at: string; lsn: string } | null> {
  const standby = await client.query('SELECT pg_is_in_recovery() AS is');
  if (standby.rows[0]?.is) return null;
  await ensureTable(client);
  const written = await client.query<{ at: Date }>(
    `WITH old AS (DELETE FROM ${table} WHERE at < now() - interval '1 day')
     INSERT INTO ${table} (source, at) VALUES ($1, clock_timestamp()) RETURNING at`,
    [source],
  );
  // Behind the end of its commit, whether that is flushed already or not.
  const position = await client.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn');
  const [row, behind] = [written.rows[0], position.rows[0]];
  return row && behind ? { at: row.at.toISOString(), lsn: behind.lsn } : null;
}

const fileName = 'canaries.json';

const document = z.array(
  z.strictObject({
    at: z.iso.datetime(),
    lsn: z.string(),
    timeline: z.int(),
    writtenAt: z.iso.datetime(),
    restorableAfterMs: z.number().nullable(),
  }),
);

/** Those that were written lately, from the staging folder of the source. */
export async function readCanaries(root: string): Promise<Canary[]> {
  try {
    return document.parse(JSON.parse(await readFile(path.join(root, fileName), 'utf8')));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

export async function keepCanaries(root: string, canaries: Canary[]): Promise<void> {
  const file = path.join(root, fileName);
  await writeFile(`${file}.new`, JSON.stringify(canaries), { mode: 0o600 });
  await rename(`${file}.new`, file);
}
