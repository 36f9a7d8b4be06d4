import { isFailure } from '../../policies/failure.ts';
import { parseWalKey, walPrefix } from '../../policies/wal-bundle.ts';
import { readWholeWal } from '../artifact/index.ts';
import { mergeLists, type Store } from '../stores/index.ts';
import { examined, type Part } from './part.ts';

/** A source's WAL: every object that any store holds of it, each with its own description. */
export function walPart(stores: Store[], { source, trusted }: { source: string; trusted: string[] }): Part {
  return {
    description: null,
    facts: () => null,
    text: () => null,
    owns: (key) => parseWalKey(source, key) !== null,
    async *keysIn(store) {
      // The store itself must answer; of the others, those that do.
      const onFailure = (from: Store, error: unknown) => {
        if (from === store || !isFailure(error, 'StoreUnreachable', 'StoreDenied', 'BucketMissing')) throw error;
      };
      for await (const { key } of mergeLists(stores, walPrefix(source), onFailure))
        if (parseWalKey(source, key)) yield key;
    },
    examine: (store, key, { signal, onProgress } = {}) =>
      examined(() => readWholeWal({ store, source, key, trusted, ...(signal ? { signal } : {}) }, onProgress)),
  };
}
