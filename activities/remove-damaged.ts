import { goodIn, openPart } from '../engine/repair/index.ts';
import type { Store } from '../engine/stores/index.ts';
import { Failure, isFailure } from '../policies/failure.ts';
import { pointPrefix } from '../policies/recovery-point.ts';
import type { Refusal, RepairPart } from '../policies/repair.ts';
import type { ActivityTools } from './failure.ts';
import { refusing } from './refusing.ts';
import { assertNotHeld } from './remove-point.ts';

/** Objects of one copy. */
export interface ObjectsOfCopy {
  part: RepairPart;
  copy: string;
  keys: string[];
}

/**
 * Removes objects that are not what they must be, so that they can be put again: each is read, and goes only when it is
 * damaged, no legal hold is on its point, and another store holds it good, which is read as well. One that is good or gone
 * stays as it is. Returns what was refused; that is there as before.
 *
 * @param stores the copy's own first
 */
export async function removeDamaged(
  stores: [Store, ...Store[]],
  trusted: string[],
  { part: name, keys }: Omit<ObjectsOfCopy, 'copy'>,
  { signal, report }: Pick<ActivityTools, 'signal' | 'report'>,
): Promise<Refusal[]> {
  const [store, ...others] = stores;
  const part = await openPart(name, stores, trusted);
  let entriesDone = 0;
  return refusing(keys, async (key) => {
    signal.throwIfAborted();
    if (!part.owns(key)) {
      throw new Failure('UsageInvalid', `${key} is none of its objects.`, { next: 'Nothing was removed.' });
    }
    const found = await part.examine(store, key, { signal });
    if (found.state === 'damaged') {
      if (name.kind === 'point') await assertNotHeld(store, pointPrefix(name.source, name.pointId));
      const good = part.text(key) === null ? await goodIn(part, others, key, signal) : store;
      if (!good) {
        throw new Failure('Corrupt', `${found.problem} No other copy that can be read has it good.`, {
          next: 'It was not removed: part of it may still be read.',
        });
      }
      await remove(store, key, good);
    }
    report({ entriesDone: ++entriesDone });
  });
}

/** What a store lets nobody remove cannot be mended there either; whoever asks for it is told why, and what is left. */
async function remove(store: Store, key: string, good: Store): Promise<void> {
  const refused = (why: string, next: string, cause?: unknown) => {
    const elsewhere = good === store ? '' : ` ${good.name} has it good.`;
    return new Failure('StoreDenied', `${key} in ${store.name} stays as it is: ${why}.`, {
      next: `${next}${elsewhere}`,
      cause,
    });
  };
  const { lockedUntil } = await store.head(key);
  if (lockedUntil !== null && Date.parse(lockedUntil) > Date.parse(await store.clock()))
    throw refused(`it is locked until ${lockedUntil}`, 'Run the repair again when the lock has ended.');
  try {
    await store.delete(key);
  } catch (error) {
    if (!isFailure(error, 'StoreDenied')) throw error;
    const why = 'the store lets the retention role not remove it';
    throw refused(why, 'Look whether it is locked, and at the rights of that role.', error);
  }
}
