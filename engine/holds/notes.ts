import { type HoldNote, holdNote, holdPrefix } from '../../policies/hold.ts';
import { readBytes, type Store } from '../stores/index.ts';

export interface HoldNotes {
  /** In the order of their names, which is that of time. */
  notes: HoldNote[];
  /** What bears the name of a note and is none, one line each. Whoever removes points takes it for a hold. */
  problems: string[];
}

/**
 * The notes on legal holds that lie beside a point in one store.
 *
 * @param prefix of the point, ending in '/'
 */
export async function readHoldNotes(store: Store, prefix: string): Promise<HoldNotes> {
  const found: HoldNotes = { notes: [], problems: [] };
  for await (const { key } of store.list(prefix + holdPrefix)) {
    const note = parse(await readBytes(store, key));
    if (note && prefix === `${note.source}/${note.point}/`) found.notes.push(note);
    else found.problems.push(`${store.name}/${key} is no note on a legal hold of that point`);
  }
  return found;
}

function parse(bytes: Buffer): HoldNote | null {
  try {
    return holdNote.safeParse(JSON.parse(bytes.toString())).data ?? null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
