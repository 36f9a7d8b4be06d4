import type pg from 'pg';

/** Commands of a WAL sender (PostgreSQL manual, 55.4 Streaming Replication Protocol) that answer in a row. */

export interface SystemIdentity {
  /** Unique to the cluster and its copies, decimal. */
  systemIdentifier: string;
  timeline: number;
  /** Flushed position of a primary, replayed position of a standby. */
  lsn: string;
}

export async function identifySystem(client: pg.Client): Promise<SystemIdentity> {
  const { rows } = await client.query('IDENTIFY_SYSTEM');
  const { systemid, timeline, xlogpos } = rows[0];
  return { systemIdentifier: String(systemid), timeline: Number(timeline), lsn: String(xlogpos) };
}

/** A setting of the server, as SHOW tells it. */
export async function setting(client: pg.Client, name: string): Promise<string> {
  const { rows } = await client.query(`SHOW ${name}`);
  return String(rows[0][name]);
}

/**
 * Makes the server keep its WAL from here on until the connection ends, by a temporary replication slot. Returns why it
 * could not be had, null when it could.
 */
export async function holdWal(client: pg.Client, slot: string): Promise<string | null> {
  try {
    await client.query(`CREATE_REPLICATION_SLOT ${slot} TEMPORARY PHYSICAL RESERVE_WAL`);
    return null;
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    // No slot is free, or max_replication_slots is 0; anything else is no matter of slots.
    if (code === '53400' || code === '55000') return message;
    throw error;
  }
}
