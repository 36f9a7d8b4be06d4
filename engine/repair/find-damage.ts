import { isFailure } from '../../policies/failure.ts';
import type { Damage } from '../../policies/repair.ts';
import type { Store } from '../stores/index.ts';
import type { Part } from './part.ts';

export interface FindDamage {
  part: Part;
  store: Store;
  /** Where good ones may be, the nearest first. */
  others: Store[];
  /** Begin behind this key, which the last call ended with. For parts whose keys are in order. */
  after?: string;
  signal?: AbortSignal;
  onProgress?(bytesRead: number): void;
}

export interface FoundDamage {
  /** Objects that were looked at. */
  objects: number;
  damages: Damage[];
  /** Where to go on; null at the end. */
  next: string | null;
}

/** At most so many at once, so that no answer grows with what is damaged. */
const damagesMax = 100;

/** Reads all that a store holds of a part, and names what is damaged or missing, and where it is good. */
export async function findDamage(work: FindDamage): Promise<FoundDamage> {
  const { part, store, others, after, signal, onProgress } = work;
  const found: FoundDamage = { objects: 0, damages: [], next: null };
  let before = 0;
  for await (const key of part.keysIn(store)) {
    if (after !== undefined && key <= after) continue;
    signal?.throwIfAborted();
    let read = 0;
    const options = {
      ...(signal ? { signal } : {}),
      onProgress: (bytes: number) => {
        read = bytes;
        onProgress?.(before + bytes);
      },
    };
    const { state, ...rest } = await part.examine(store, key, options);
    before += read;
    found.objects++;
    if (state === 'good') continue;
    const from = part.text(key) === null ? ((await goodIn(part, others, key, signal))?.name ?? null) : store.name;
    found.damages.push({ key, state, problem: 'problem' in rest ? rest.problem : '', from });
    if (found.damages.length < damagesMax) continue;
    found.next = key;
    break;
  }
  return found;
}

/** The first of the stores that has an object good; those that cannot be read are passed over. */
export async function goodIn(part: Part, stores: Store[], key: string, signal?: AbortSignal): Promise<Store | null> {
  for (const store of stores) {
    try {
      if ((await part.examine(store, key, signal ? { signal } : {})).state === 'good') return store;
    } catch (error) {
      if (!isFailure(error, 'StoreUnreachable', 'StoreDenied', 'BucketMissing')) throw error;
    }
  }
  return null;
}
