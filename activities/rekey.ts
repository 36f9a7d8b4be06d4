import { rekeyPoint } from '../engine/keys/index.ts';
import type { Store } from '../engine/stores/index.ts';
import { Failure, isFailure } from '../policies/failure.ts';
import type { Policy } from '../policies/policy.ts';
import { backupJsonName, plainName } from '../policies/recovery-point.ts';
import { runActivity } from './failure.ts';
import { type RekeyWalPage, type RekeyWalRequest, rekeyWalPage } from './rekey-wal.ts';

/** What the recovery worker is given for this: an identity, and stores to which it may put wrapped keys, and nothing else. */
export interface RekeyDependencies {
  policy: Policy;
  keyStore(copy: string): Promise<Store>;
  identity(): Promise<string>;
}

export interface RekeyRequest extends RekeyWalRequest {
  /** Default: every point of the source. */
  points?: string[];
}

/** Wrapped keys that stand in the way of a revocation: what `removeKeys` takes away. */
export interface FormerKeys {
  pointId: string;
  copy: string;
  keep: { name: string; sha256: string };
}

export interface RekeyPage {
  points: number;
  /** Copies of points to which a wrapped key was added now. */
  added: number;
  /** Copies that had it. */
  present: number;
  former: FormerKeys[];
  /** Points with former keys whose new one no identity at hand opens: nothing of theirs is revoked. */
  unproven: number;
  /** By point, copy and reason; the first of them. */
  problems: string[];
  /** How many more there are. */
  moreProblems: number;
  /** Where to go on; null at the end. */
  after: string | null;
}

export type RekeyActivities = ReturnType<typeof createRekeyActivities>;

/** Points done at once: neither a history nor an activity grows with what there is. */
const pageMax = 200;
const problemsMax = 20;

export function createRekeyActivities({ policy, keyStore, identity }: RekeyDependencies) {
  const { recipients, trusted } = policy.keys;
  const modes = new Map(policy.copies.map((c) => [c.name, c.kind === 's3' ? c.lock?.mode : undefined]));

  return {
    /**
     * Wraps the keys of the next points of a source for the policy's present recipients, in every copy. What was done
     * is found done by the next attempt. Throws CopyUnknown, SourceUnknown, and what no copy can be read for.
     */
    rekeyPoints: (request: RekeyRequest): Promise<RekeyPage> =>
      runActivity('rekey', async ({ signal, report }) => {
        const counts = { points: 0, added: 0, present: 0, unproven: 0, moreProblems: 0 };
        const page: RekeyPage = { ...counts, former: [], problems: [], after: null };
        const stores = await openStores(request, page);
        const ids = await idsOf(stores, request, page);
        const next = ids.filter((id) => request.after === null || id > request.after);
        for (const id of next.slice(0, pageMax)) {
          signal.throwIfAborted();
          await rekeyOne(stores, request.source, id, page);
          page.points++;
          report({ entriesDone: page.points });
        }
        if (next.length > pageMax) page.after = next[pageMax - 1] ?? null;
        page.moreProblems = page.problems.splice(problemsMax).length;
        return page;
      }),

    /** The same for the archived WAL of a source. */
    rekeyWal: (request: RekeyWalRequest): Promise<RekeyWalPage> =>
      runActivity('rekey WAL', async (tools) => {
        const counts = { objects: 0, added: 0, present: 0, unproven: 0, inLine: 0, moreProblems: 0 };
        const page: RekeyWalPage = { ...counts, former: [], problems: [], after: null };
        await rekeyWalPage({ policy, identity }, await openStores(request, page), request, page, tools);
        page.moreProblems = page.problems.splice(problemsMax).length;
        return page;
      }),
  };

  /** Those that can be opened; what keeps the others from it is told. */
  async function openStores({ source, copies }: RekeyWalRequest, page: Pick<RekeyPage, 'problems'>): Promise<Store[]> {
    if (!plainName.safeParse(source).success) {
      throw new Failure('SourceUnknown', `${JSON.stringify(source)} is no name of a source.`, {
        next: 'Name a source.',
      });
    }
    const stores: Store[] = [];
    let refused: Failure | null = null;
    for (const name of copies ?? policy.copies.map((c) => c.name)) {
      try {
        stores.push(await keyStore(name));
      } catch (error) {
        if (!isFailure(error)) throw error;
        refused = error;
        page.problems.push(error.message);
      }
    }
    if (stores.length === 0 && refused) throw refused;
    return stores;
  }

  async function rekeyOne(stores: Store[], source: string, id: string, page: RekeyPage): Promise<void> {
    try {
      const options = { stores, source, id, trusted, identity: await identity(), recipients };
      const rekeyed = await rekeyPoint({ ...options, lockMode: (copy) => modes.get(copy) });
      for (const { copy, state, error, former } of rekeyed.copies) {
        if (state === 'failed') page.problems.push(`${id} in ${copy}: ${error}`);
        else if (state === 'added') page.added++;
        else page.present++;
        if (state === 'failed' || former.length === 0) continue;
        if (rekeyed.proven) page.former.push({ pointId: id, copy, keep: rekeyed.key });
      }
      if (!rekeyed.proven && rekeyed.copies.some((c) => c.former.length > 0)) page.unproven++;
    } catch (error) {
      if (!isFailure(error)) throw error;
      page.problems.push(`${id}: ${error.message}`);
    }
  }
}

/** By the stores, not by the catalog: what it has forgotten must not be left behind. In order. */
async function idsOf(stores: Store[], { source, points }: RekeyRequest, page: RekeyPage): Promise<string[]> {
  if (points) return [...new Set(points)].sort();
  const ids = new Set<string>();
  let unread: Failure | null = null;
  let read = 0;
  for (const store of stores) {
    try {
      await store.check();
      for await (const { key } of store.list(`${source}/`)) {
        const [, id = '', name, more] = key.split('/');
        if (name === backupJsonName && more === undefined) ids.add(id);
      }
      read++;
    } catch (error) {
      if (!isFailure(error, 'StoreUnreachable', 'StoreDenied', 'BucketMissing')) throw error;
      unread = error;
      page.problems.push(`${store.name}: ${error.message}`);
    }
  }
  if (read === 0 && unread) throw unread;
  return [...ids].sort();
}
