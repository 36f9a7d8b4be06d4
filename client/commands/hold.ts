import type { PointRecord } from '../../engine/catalog/index.ts';
import { Failure, failureTypes } from '../../policies/failure.ts';
import { type HoldNote, holdFormat, isHeld, openHolds } from '../../policies/hold.ts';
import type { Context } from '../context.ts';
import { describeError } from '../errors.ts';
import { unknownPoint } from '../names.ts';
import { namedPerson } from '../person.ts';
import { shortTime } from '../point-view.ts';
import { table } from '../table.ts';

export interface HoldOptions {
  action: HoldNote['action'];
  id: string;
  operator?: string;
  reason?: string;
}

interface Outcome {
  copy: string;
  /** `store`: it lets nobody remove what is held; `note`: only our own workers heed it; null: it failed. */
  by: 'store' | 'note' | null;
  error: string | null;
}

interface Row {
  point: string;
  /** The copies that let nobody remove it. */
  enforced: string[];
  note: HoldNote | null;
}

/** Sets or lifts the legal hold on a point, in every copy that has it. Ends with 5 when it did not reach all of them. */
export async function hold(context: Context, { action, id, ...person }: HoldOptions): Promise<number | undefined> {
  const { operator, reason } = namedPerson(person, `backupctl hold ${action} ${id}`);
  const point = await pointNamed(context, id);
  if (action === 'remove' && !isHeld(point)) {
    throw new Failure('UsageInvalid', `${id} is not held.`, { next: '"backupctl hold list" shows what is.' });
  }
  const at = new Date().toISOString();
  const source = point.backup.source.name;
  const note: HoldNote = { format: holdFormat, action, source, point: id, operator, reason, at };
  const outcomes = await apply(context, point, note);
  const reached = outcomes.filter((o) => o.by !== null);
  if (reached.length > 0) {
    const enforced = outcomes.filter((o) => o.by === 'store').map((o) => o.copy);
    await (await context.catalog()).recordHold(note, enforced);
  }
  const { out } = context;
  const word = action === 'add' ? 'held' : 'no longer held';
  out.result({ note, copies: outcomes }, () =>
    [
      ...outcomes.map(({ copy, by, error }) => {
        if (by === null) return `${out.paint('red', '✗')} ${copy}: ${error}`;
        return `${out.paint('green', '✓')} ${copy}: ${word}${by === 'store' ? '' : ', by us alone: the store cannot enforce it'}`;
      }),
      ...(reached.length === outcomes.length
        ? []
        : ['Mend what is named, then run it again: it did not reach every copy.']),
    ].join('\n'),
  );
  return reached.length === outcomes.length ? undefined : failureTypes.StoreDenied.exitCode;
}

/** What is held, by whom, and why. With `all` also what was. */
export async function holdList(context: Context, { all }: { all: boolean }): Promise<number | undefined> {
  const points = await (await context.catalog()).points();
  const rows = points.flatMap((point): Row[] => {
    const notes = all ? point.holds : openHolds(point.holds);
    const enforced = point.copies.filter((c) => c.held).map((c) => c.copy);
    // What a store enforces and nobody noted is still held.
    if (notes.length === 0 && enforced.length > 0) return [{ point: point.backup.id, enforced, note: null }];
    return notes.map((note) => ({ point: point.backup.id, enforced, note }));
  });
  const { out } = context;
  out.result({ holds: rows }, () =>
    rows.length === 0
      ? 'Nothing is held.'
      : table(
          ['recovery point', 'what', 'when', 'who', 'why', 'enforced by'],
          rows.map(({ point, note, enforced }) => [
            point,
            note === null || note.action === 'add' ? 'held' : 'lifted',
            note === null ? '' : shortTime(note.at),
            note?.operator ?? 'nobody noted it',
            note?.reason ?? '',
            enforced.join('\n') || 'our workers only',
          ]),
        ),
  );
  return undefined;
}

async function pointNamed(context: Context, id: string): Promise<PointRecord> {
  const catalog = await context.catalog();
  const point = await catalog.point(id);
  if (point) return point;
  throw unknownPoint(
    id,
    (await catalog.points({ limit: 1000 })).map((p) => p.backup.id),
  );
}

async function apply(context: Context, { backup, copies }: PointRecord, note: HoldNote): Promise<Outcome[]> {
  const { holdPoint } = await import('../../engine/holds/index.ts');
  return Promise.all(
    copies
      .filter((c) => c.state === 'verified')
      .map(async ({ copy }): Promise<Outcome> => {
        try {
          return { copy, by: await holdPoint(await context.store(copy, 'hold'), backup, note), error: null };
        } catch (error) {
          return { copy, by: null, error: describeError(error).message };
        }
      }),
  );
}
