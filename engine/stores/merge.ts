import type { Store } from './store.ts';

/**
 * The keys below a prefix of several stores, each once, in order, with those that hold it; streaming. Only for keys in ASCII, whose order is that of
 * their UTF-8 bytes. What a listing fails with goes to `onFailure`, and the others go on without that store; it may throw.
 */
export async function* mergeLists(
  stores: Store[],
  prefix: string,
  onFailure: (store: Store, error: unknown) => void,
): AsyncGenerator<{ key: string; stores: Store[] }> {
  const readers = stores.map((store) => {
    const reader = store.list(prefix)[Symbol.asyncIterator]();
    const next = async (): Promise<string | null> => {
      try {
        const { done, value } = await reader.next();
        return done ? null : value.key;
      } catch (error) {
        onFailure(store, error);
        return null;
      }
    };
    return { store, next, end: () => reader.return?.() };
  });
  try {
    const heads = await Promise.all(readers.map((r) => r.next()));
    for (;;) {
      const key = heads.reduce((least, k) => (k !== null && (least === null || k < least) ? k : least), null);
      if (key === null) return;
      const having = readers.filter((_, i) => heads[i] === key);
      yield { key, stores: having.map((r) => r.store) };
      for (const [i, reader] of readers.entries()) if (heads[i] === key) heads[i] = await reader.next();
    }
  } finally {
    await Promise.all(readers.map((r) => r.end()));
  }
}
