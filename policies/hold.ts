import { z } from 'zod';

/**
 * A note on a legal hold, as it lies beside a recovery point in every store that has the point: who set or lifted it,
 * and why. Written once, like everything; the newest note says whether the point is held.
 */
export const holdFormat = 'backup-coordinator/hold/1';

export const holdNote = z.strictObject({
  format: z.literal(holdFormat),
  action: z.enum(['add', 'remove']),
  source: z.string(),
  point: z.string(),
  operator: z.string().min(1),
  reason: z.string().min(1),
  at: z.iso.datetime(),
});
export type HoldNote = z.infer<typeof holdNote>;

/** How the names of notes begin; those who write backups may put nothing under such a name (policies/bucket-policy.ts). */
export const holdPrefix = 'hold.';

/** Name of a note within the point's prefix; they sort by time. */
export function holdNoteName({ at, action }: Pick<HoldNote, 'at' | 'action'>): string {
  return `${holdPrefix}${at.replaceAll(/[-:.]/g, '').toLowerCase()}.${action}.json`;
}

/** Each note once, the oldest first. */
export function mergeNotes(...lists: HoldNote[][]): HoldNote[] {
  const byName = new Map(lists.flat().map((note) => [holdNoteName(note), note]));
  return [...byName.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, note]) => note);
}

/** The notes since the point is held, the oldest first; empty when it is not. */
export function openHolds(notes: HoldNote[]): HoldNote[] {
  const sorted = mergeNotes(notes);
  return sorted.slice(sorted.findLastIndex((note) => note.action === 'remove') + 1);
}

/** Whether a legal hold is on a point, by what people noted or by what any of its stores enforces. */
export function isHeld({ holds, copies }: { holds: HoldNote[]; copies: { held: boolean }[] }): boolean {
  return openHolds(holds).length > 0 || copies.some((copy) => copy.held);
}

/** One line for people. */
export function holdInWords({ operator, reason, at }: HoldNote): string {
  return `by ${operator} since ${at.replace('T', ' ').replace(/\.\d+Z$/, 'Z')}: ${reason}`;
}
