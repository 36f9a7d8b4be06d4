import { readHoldNotes } from '../engine/holds/index.ts';
import type { Store } from '../engine/stores/index.ts';
import { Failure, isFailure } from '../policies/failure.ts';
import { holdInWords, openHolds } from '../policies/hold.ts';
import { backupJsonName } from '../policies/recovery-point.ts';

/** Unpublishes first: at no moment is there a point whose objects are partly gone. */
export async function removePoint(store: Store, prefix: string): Promise<void> {
  await store.delete(prefix + backupJsonName);
  for await (const object of store.list(prefix)) await store.delete(object.key);
  for await (const pending of store.listPending(prefix)) await store.abortPut(pending);
}

/** In any one store: a hold that did not reach the others is one all the same. */
export async function assertNotHeld(store: Store, prefix: string): Promise<void> {
  const { notes, problems } = await readHoldNotes(store, prefix);
  const [open] = openHolds(notes);
  const why = open
    ? holdInWords(open)
    : (problems[0] ?? ((await isHeldBy(store, prefix)) ? 'by the store itself' : null));
  if (why === null) return;
  throw new Failure('StoreDenied', `${prefix} is held in ${store.name}, ${why}.`, {
    next: 'Nothing was removed. "backupctl hold list" shows who holds it; a person lifts it with "backupctl hold remove".',
  });
}

async function isHeldBy(store: Store, prefix: string): Promise<boolean> {
  try {
    return (await store.head(prefix + backupJsonName)).held;
  } catch (error) {
    if (isFailure(error, 'ObjectMissing')) return false;
    throw error;
  }
}
