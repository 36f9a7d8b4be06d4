import { Failure, isFailure } from '../../policies/failure.ts';
import { bytesSource, headOrNull, type PutOptions, type Store } from '../stores/index.ts';
import { assembleWayOut, type WayOutFile } from './assemble.ts';

let files: WayOutFile[] | null = null;

/** The script and the page of this version. */
export function wayOutFiles(): WayOutFile[] {
  files ??= Object.values(assembleWayOut());
  return files;
}

export interface WayOutOptions extends Pick<PutOptions, 'lock' | 'signal'> {
  /** An attempt before this one failed, and may have left something under way. */
  again?: boolean;
}

/**
 * Lays the script and the page that restore without this software at the root of a store, where they are not there
 * already, and locks them for as long as asked: at least as long as what they restore. Their names carry their hashes,
 * so that a newer version is a further object and nothing is overwritten. One head for each when nothing is to be done.
 * Throws ObjectExists when something else lies under such a name, and what the store throws.
 */
export async function placeWayOut(store: Store, { lock, signal, again = false }: WayOutOptions = {}): Promise<void> {
  for (const { name, text } of wayOutFiles()) {
    const source = bytesSource(text);
    const found = await headOrNull(store, name);
    const isLocked = !lock || Date.parse(found?.lockedUntil ?? '') >= Date.parse(lock.until);
    if (found && found.bytes === source.bytes && found.sha256 === source.sha256 && isLocked) {
      if (again) for await (const pending of store.listPending(name)) await store.abortPut(pending);
      continue;
    }
    try {
      await store.put(name, source, { ...(lock ? { lock } : {}), ...(signal ? { signal } : {}) });
    } catch (error) {
      if (isFailure(error, 'ObjectMissing')) throw lostRace(store, name, error);
      if (!isFailure(error, 'ObjectExists')) throw error;
      throw new Failure('ObjectExists', `${name} in ${store.name} is not what this version lays there.`, {
        next: 'Somebody put it there: do not run it. Find out who, and remove it.',
        cause: error,
      });
    }
  }
}

/** Two jobs laid it there in the same moment, and neither sees it yet. */
function lostRace(store: Store, name: string, cause: unknown): Failure {
  return new Failure('StoreUnreachable', `${store.name} took ${name} from another job but does not show it yet.`, {
    next: 'Nothing is to be done; it is tried again by itself.',
    cause,
  });
}
