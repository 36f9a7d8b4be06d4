import { isFailure } from '../../policies/failure.ts';
import { parseWalKey, walPrefix } from '../../policies/wal-bundle.ts';
import { readWholeWal } from '../artifact/index.ts';
import type { Store } from '../stores/index.ts';
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
      const lists = stores.map((s) => (s === store ? s.list(walPrefix(source)) : listIfThere(s, walPrefix(source))));
      for await (const key of merged(lists)) if (parseWalKey(source, key)) yield key;
    },
    examine: (store, key, { signal, onProgress } = {}) =>
      examined(() => readWholeWal({ store, source, key, trusted, ...(signal ? { signal } : {}) }, onProgress)),
  };
}

async function* listIfThere(store: Store, prefix: string): AsyncGenerator<{ key: string }> {
  try {
    yield* store.list(prefix);
  } catch (error) {
    if (!isFailure(error, 'StoreUnreachable', 'StoreDenied', 'BucketMissing')) throw error;
  }
}

/** The keys of several listings, which are in order, each once. Names of WAL are in ASCII. */
async function* merged(lists: AsyncIterable<{ key: string }>[]): AsyncGenerator<string> {
  const readers = lists.map((list) => list[Symbol.asyncIterator]());
  const heads = await Promise.all(readers.map((r) => r.next()));
  try {
    for (;;) {
      const keys = heads.flatMap((h) => (h.done ? [] : [h.value.key]));
      const first = keys.reduce<string | null>((least, key) => (least === null || key < least ? key : least), null);
      if (first === null) return;
      yield first;
      for (const [i, reader] of readers.entries()) {
        const head = heads[i];
        if (head && !head.done && head.value.key === first) heads[i] = await reader.next();
      }
    }
  } finally {
    await Promise.all(readers.map((r) => r.return?.()));
  }
}
