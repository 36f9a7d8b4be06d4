import type pg from 'pg';
import { Failure } from '../../../policies/failure.ts';
import { lsnOf } from '../../../policies/wal.ts';
import { identifySystem } from '../postgres/replication.ts';

/** A physical replication slot: the server keeps WAL until it was told that it is safe. Commands of a WAL sender. */

export interface Slot {
  /** The oldest position that the server keeps, and its timeline; null when it keeps nothing (yet, or any more). */
  start: { timeline: number; lsn: bigint } | null;
}

/** Null when there is none of that name. */
export async function readSlot(client: pg.Client, slot: string): Promise<Slot | null> {
  const { rows } = await client.query(`READ_REPLICATION_SLOT ${slot}`);
  const { slot_type: type, restart_lsn: lsn, restart_tli: timeline } = rows[0] ?? {};
  if (type === null || type === undefined) return null;
  return { start: lsn === null ? null : { timeline: Number(timeline), lsn: lsnOf(lsn) } };
}

/** Makes it unless it is there; the server keeps its WAL from this moment on. Throws SourceUnreadable. */
export async function ensureSlot(client: pg.Client, slot: string, name: string): Promise<Slot> {
  const found = await readSlot(client, slot);
  if (found) return found;
  try {
    await client.query(`CREATE_REPLICATION_SLOT ${slot} PHYSICAL RESERVE_WAL`);
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    // No slot is free, or max_replication_slots is 0.
    if (code !== '53400' && code !== '55000') throw error;
    throw new Failure(
      'SourceUnreadable',
      `${name}: the server has no replication slot left for its WAL (${message}).`,
      {
        next: 'Raise max_replication_slots there (it needs a restart), or drop a slot that nobody uses.',
        cause: error,
      },
    );
  }
  return (await readSlot(client, slot)) ?? { start: null };
}

/** A slot for which the server keeps nothing any more is of no use: it is made anew. */
export async function dropIfLost(client: pg.Client, slot: string): Promise<void> {
  const found = await readSlot(client, slot);
  if (found && !found.start) await dropSlot(client, slot);
}

/** Gives up what the server keeps. Idempotent. */
export async function dropSlot(client: pg.Client, slot: string): Promise<void> {
  try {
    await client.query(`DROP_REPLICATION_SLOT ${slot} WAIT`);
  } catch (error) {
    if ((error as { code?: string }).code !== '42704') throw error;
  }
}

export interface SlotState {
  /** Bytes of WAL that the server keeps for the slot; null when there is no slot, or it keeps nothing. */
  keptBytes: number | null;
}

/** How much the server keeps for a slot at this moment. */
export async function slotState(client: pg.Client, slot: string): Promise<SlotState> {
  const found = await readSlot(client, slot);
  if (!found?.start) return { keptBytes: null };
  const { lsn } = await identifySystem(client);
  return { keptBytes: Math.max(0, Number(lsnOf(lsn) - found.start.lsn)) };
}

/**
 * Gives a slot up when the server keeps more for it than it may: a full disk would end the server, and what is lost
 * otherwise is WAL that was not archived yet. Returns what it kept; whether the slot is gone is said by `dropped`. A slot
 * that somebody streams from is waited for, so its archiving is to be ended first.
 */
export async function limitSlot(
  client: pg.Client,
  slot: string,
  keptBytesMax: number,
): Promise<SlotState & { dropped: boolean }> {
  const state = await slotState(client, slot);
  const dropped = state.keptBytes !== null && state.keptBytes > keptBytesMax;
  if (dropped) await dropSlot(client, slot);
  return { ...state, dropped };
}
