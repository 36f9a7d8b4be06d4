import { readWalHeader } from '../engine/artifact/index.ts';
import { leastOf, listWal, readShipped, shipWal, type WalContents, walStaging } from '../engine/sources/wal/index.ts';
import type { Store } from '../engine/stores/index.ts';
import { Failure, isFailure } from '../policies/failure.ts';
import type { Policy } from '../policies/policy.ts';
import { gapsOf, lsnText } from '../policies/wal.ts';
import type { WalArchiveState } from '../workflows/contracts.ts';
import { runActivity } from './failure.ts';
import type { WalEnd } from './wal-host.ts';

/** A stretch of WAL that a copy lacks, with what comes after it there. */
export interface CopyGap {
  copy: string;
  timeline: number;
  from: string;
  to: string;
}

export interface WalArchived {
  /** What all copies have that could be asked and have any; null for none at all. */
  archived: WalEnd | null;
  gaps: CopyGap[];
}

export interface ShipWalInput {
  source: string;
  /** What is known already: it ends when that has changed. */
  known: WalArchiveState['copies'];
  forMs: number;
  /** A copy that fails for so long is told. */
  patienceMs: number;
}

export interface ShipWalOutcome {
  /** Those that WAL does not get to, and why. */
  copies: WalArchiveState['copies'];
}

export interface WalTransferDependencies {
  policy: Policy;
  store(copy: string): Promise<Store>;
}

export type WalTransferActivities = ReturnType<typeof createWalTransferActivities>;

/** More of them say no more. */
const gapsMax = 10;
/** What is under way when a round ends may take so long. */
const finishMs = 60_000;

/** What a transfer worker does for WAL: it carries what was sealed from the staging disk to the copies. */
export function createWalTransferActivities({ policy, store }: WalTransferDependencies) {
  const { trusted } = policy.keys;
  return {
    /** Looks how far the copies have the WAL of a source, by the names of what lies there. Throws when none answers. */
    findArchived: ({ source }: { source: string }): Promise<WalArchived> =>
      runActivity('find WAL', async ({ signal }) => {
        const found: { copy: string; store: Store; contents: WalContents }[] = [];
        let refused: unknown = null;
        for (const { name } of policy.copies) {
          try {
            const opened = await store(name);
            await opened.check();
            const contents = await listWal({ store: opened, source, trusted, signal });
            found.push({ copy: name, store: opened, contents });
          } catch (error) {
            if (!isFailure(error)) throw error;
            refused ??= error;
          }
        }
        if (found.length === 0) throw refused;
        const gaps = found.flatMap(({ copy, contents }) =>
          gapsOf(contents.ranges, contents.histories).map(({ timeline, from, to }) => {
            return { copy, timeline, from: lsnText(from), to: lsnText(to) };
          }),
        );
        const least = leastOf(found.map((f) => f.contents));
        if (!least) return { archived: null, gaps: [] };
        const systemIdentifier = await clusterOf(found, source, trusted);
        return { archived: { ...least, end: lsnText(least.end), systemIdentifier }, gaps: gaps.slice(-gapsMax) };
      }),

    /**
     * Carries what is staged to all copies, and removes it here once all have it. Ends when the time is over, or when
     * other copies fail than is known.
     */
    shipWal: (input: ShipWalInput): Promise<ShipWalOutcome> =>
      runActivity('ship WAL', async ({ signal, report }) => {
        const { source, known, forMs, patienceMs } = input;
        const root = walStaging(policy.staging.path, source);
        const ending = new AbortController();
        const failing = new Map(known.map(({ copy, error }) => [copy, { error, since: Number.NEGATIVE_INFINITY }]));
        const told = (copy: string) => known.some((k) => k.copy === copy);
        const end = () => {
          ending.abort();
          setTimeout(() => given.abort(), finishMs).unref();
        };
        const given = new AbortController();
        const timer = setTimeout(end, forMs);
        const tell = async () => {
          const shipped = await readShipped(root);
          if (!shipped) return;
          const { end: lsn, ...rest } = shipped;
          report({ wal: { shipped: { ...rest, lsn: lsnText(lsn) } } });
        };
        try {
          await tell();
          await shipWal({
            root,
            source,
            copies: policy.copies.map(({ name }) => ({ name, store: () => store(name) })),
            signal: AbortSignal.any([signal, given.signal]),
            ending: ending.signal,
            onCopy(copy, error) {
              if (error === null) {
                failing.delete(copy);
                if (told(copy)) end();
                return;
              }
              if (!isFailure(error)) throw error;
              const since = failing.get(copy)?.since ?? performance.now();
              failing.set(copy, { error: error.message, since });
              if (!told(copy) && performance.now() - since >= patienceMs) end();
            },
            onShipped: tell,
          });
        } finally {
          clearTimeout(timer);
        }
        const isOld = ({ since }: { since: number }) => performance.now() - since >= patienceMs;
        return {
          copies: [...failing].filter(([, f]) => isOld(f)).map(([copy, { error }]) => ({ copy, error })),
        };
      }),
  };
}

/** The cluster that the archive is of, as the newest range says. */
async function clusterOf(
  found: { store: Store; contents: WalContents }[],
  source: string,
  trusted: string[],
): Promise<string> {
  for (const { store, contents } of found) {
    const newest = contents.ranges.at(-1);
    if (newest) return (await readWalHeader({ store, source, key: newest.key, trusted })).header.systemIdentifier;
  }
  throw new Failure('ObjectMissing', `There is no WAL of ${source}.`, { next: 'Archive some first.' });
}
