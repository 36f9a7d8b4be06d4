import { mkdir } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import type { SigningKey } from '../engine/artifact/index.ts';
import { connect, replicationOf } from '../engine/sources/postgres/connection.ts';
import {
  type ArchiveEnd,
  archiveWal,
  discardUnsealed,
  dropSlot,
  limitSlot,
  listWal,
  readShipped,
  slotState,
  streamFailure,
  walStaging,
} from '../engine/sources/wal/index.ts';
import { createDirectoryStore } from '../engine/stores/index.ts';
import { durationSeconds } from '../policies/duration.ts';
import type { Policy } from '../policies/policy.ts';
import type { StrainReport } from '../policies/strain.ts';
import { ledOn, lsnOf, lsnText } from '../policies/wal.ts';
import { parseWalKey } from '../policies/wal-bundle.ts';
import { archivedSource, clusterSource, walSlot } from '../policies/wal-sources.ts';
import type { WalArchiveState, WalBeat } from '../workflows/contracts.ts';
import { runActivity } from './failure.ts';
import { walStrainWatch } from './strain.ts';
import { keepCanary } from './wal-canary.ts';

/** Where an archive ends, as it travels. */
export interface WalEnd extends Omit<ArchiveEnd, 'end'> {
  end: string;
}

export interface StreamWalInput {
  source: string;
  /** What all copies have. */
  archived: WalEnd | null;
  /** Begin where the slot does: what would come next is no longer there. */
  anew: boolean;
  /** What is known already: it ends when that has changed. */
  known: WalArchiveState['streaming'];
  forMs: number;
  /** A slot that stays beyond its limit for so long, while WAL counts as safe once it is staged, is to be given up. */
  patienceMs: number;
}

export interface StreamWalOutcome {
  /** `over-limit`: the slot is to be given up. */
  state: 'well' | 'behind' | 'over-limit';
  keptBytes: number | null;
}

export interface WalHostDependencies {
  policy: Policy;
  resolveSecret(ref: string): Promise<string>;
  signingKey(): Promise<SigningKey>;
  software: string;
  /** Tells the coordinator that a server is under strain, or no longer is. */
  tellStrain(report: StrainReport): Promise<void>;
}

export type WalHostActivities = ReturnType<typeof createWalHostActivities>;

const lookEveryMs = 2_000;
const idleMsMax = 600_000;
/** To prove that all is well again, also where nothing happens. */
const idleMsToProve = 3_000;

/** What a backup worker does for the WAL of its host's clusters: it streams and seals; it opens nothing, and puts nothing. */
export function createWalHostActivities(deps: WalHostDependencies) {
  const { policy } = deps;
  const replication = async (name: string) =>
    connect(await replicationOf(clusterSource(policy, name), deps.resolveSecret), name);

  const watchStrain = walStrainWatch(deps.tellStrain);

  return {
    /**
     * Streams WAL and seals it onto the staging disk, from where the copies and the staged end. Ends when the time is
     * over, or when things are otherwise than is known. The server may forget what all copies have; only while it keeps
     * more than the policy lets it, also what lies on the staging disk.
     */
    streamWal: (input: StreamWalInput): Promise<StreamWalOutcome> =>
      runActivity('stream WAL', async ({ signal, report }) => {
        const { source, known } = input;
        const cluster = archivedSource(policy, source);
        const root = walStaging(policy.staging.path, source);
        await discardUnsealed(root);
        const archived = await endHere(root, input, policy);
        const nowhere = { timeline: 0, end: 0n };
        const stored = input.archived && { timeline: input.archived.timeline, end: lsnOf(input.archived.end) };
        const reached = { sealed: archived ?? nowhere, shipped: stored ?? nowhere };
        const beat: WalBeat = {};
        const failed = new AbortController();
        const round = createRound(input, cluster.wal.slotBytes);
        const watching = watch(
          async () => {
            const client = await replication(source);
            return {
              look: async () => {
                reached.shipped = (await readShipped(root)) ?? reached.shipped;
                const { keptBytes } = await slotState(client, walSlot(source));
                beat.keptBytes = keptBytes;
                report({ wal: beat });
                const stagedBytes = Number(reached.sealed.end - reached.shipped.end);
                round.look(keptBytes, stagedBytes);
                // What the server was let forget waits on the staging disk, and goes the same way. Otherwise positions of
                // two timelines say nothing, nor those of copies of which nobody knows what they have.
                const isStaged = known === 'behind' || reached.sealed.timeline === reached.shipped.timeline;
                await watchStrain(source, Math.max(keptBytes ?? 0, isStaged ? stagedBytes : 0), cluster.wal.slotBytes);
              },
              end: () => client.end(),
            };
          },
          AbortSignal.any([round.ending, signal]),
        ).catch((error: unknown) => failed.abort(streamFailure(error, cluster.connection, source)));
        const canary = keepCanary({
          cluster,
          root,
          resolveSecret: deps.resolveSecret,
          timeline: () => beat.received?.timeline ?? null,
          onMeasured: (measured) => {
            beat.canary = measured;
          },
          until: AbortSignal.any([round.ending, signal]),
        }).catch((error: unknown) => failed.abort(error));
        try {
          await archiveWal({
            connection: await replicationOf(cluster, deps.resolveSecret),
            source: { name: source, host: cluster.host },
            slot: walSlot(source),
            root,
            recipients: policy.keys.recipients,
            signingKey: await deps.signingKey(),
            software: deps.software,
            archived,
            anew: input.anew,
            bundleMs: durationSeconds(cluster.wal.every) * 1000,
            idleMs: known === 'failing' ? idleMsToProve : Math.min(idleMsMax, durationSeconds(cluster.rpo) * 500),
            signal: AbortSignal.any([signal, failed.signal]),
            ending: round.ending,
            onSealed: async (key) => {
              const found = parseWalKey(source, key);
              if (found?.kind !== 'range') return;
              reached.sealed = found.range;
              round.sealed();
            },
            safe: (timeline) => {
              const at = known === 'behind' ? reached.sealed : reached.shipped;
              // Positions of another timeline say nothing of this one: production may have gone back in time.
              return at.timeline === timeline ? at.end : 0n;
            },
            onProgress: ({ timeline, received, until }) => {
              beat.received = { timeline, lsn: lsnText(received), until };
            },
          });
        } finally {
          round.end();
          await Promise.all([watching, canary]);
        }
        return round.outcome();
      }),

    /** Gives the slot up when the server keeps more for it than the policy lets it, while nothing can be archived. */
    guardWalSlot: ({ source }: { source: string }): Promise<{ keptBytes: number | null; dropped: boolean }> =>
      runActivity('guard the slot', async () => {
        const { slotBytes } = archivedSource(policy, source).wal;
        const client = await replication(source);
        try {
          const limited = await limitSlot(client, walSlot(source), slotBytes);
          await watchStrain(source, limited.dropped ? 0 : (limited.keptBytes ?? 0), slotBytes);
          return limited;
        } finally {
          await client.end();
        }
      }),

    /** Gives the slot up: the server keeps nothing for us any more. Idempotent. */
    dropWalSlot: ({ source }: { source: string }): Promise<void> =>
      runActivity('drop the slot', async () => {
        const client = await replication(source);
        try {
          await dropSlot(client, walSlot(source));
          await watchStrain(source, 0, 1);
        } finally {
          await client.end();
        }
      }),
  };
}

/** The end of what the copies have, led on by what is staged for them. */
async function endHere(
  root: string,
  { source, archived }: StreamWalInput,
  { keys }: Policy,
): Promise<ArchiveEnd | null> {
  await mkdir(root, { recursive: true, mode: 0o700 });
  const store = createDirectoryStore({ name: 'staging', path: root });
  const staged = await listWal({ store, source, trusted: keys.trusted });
  const stored = archived && { ...archived, end: lsnOf(archived.end) };
  const end = ledOn(stored, staged.ranges);
  if (!end) return null;
  const { timeline, until } = end;
  const histories = [...(stored?.histories ?? []), ...staged.histories.map((h) => h.timeline)];
  const { systemIdentifier } = stored ?? {};
  return { timeline, end: end.end, until, histories, ...(systemIdentifier === undefined ? {} : { systemIdentifier }) };
}

/** When a round of streaming ends, and with what. */
function createRound({ known, forMs, patienceMs }: StreamWalInput, slotBytes: number) {
  const ending = new AbortController();
  const until = performance.now() + forMs;
  let state: StreamWalOutcome['state'] = known === 'behind' ? 'behind' : 'well';
  let kept: number | null = null;
  let overSince: number | null = null;
  const end = (as: StreamWalOutcome['state'] = state) => {
    if (!ending.signal.aborted) state = as;
    ending.abort();
  };
  return {
    ending: ending.signal,
    end: () => end(),
    /** @param behindBytes sealed, and not in all copies yet */
    look(keptBytes: number | null, behindBytes: number): void {
      kept = keptBytes;
      const isOver = (keptBytes ?? 0) > slotBytes;
      overSince = isOver ? (overSince ?? performance.now()) : null;
      if (known !== 'behind' && isOver) end('behind');
      else if (overSince !== null && performance.now() - overSince > patienceMs) end('over-limit');
      else if (known === 'behind' && !isOver && behindBytes < slotBytes / 2) end('well');
      else if (performance.now() > until) end();
    },
    sealed(): void {
      if (known === 'failing') end('well');
    },
    outcome: (): StreamWalOutcome => ({ state, keptBytes: kept }),
  };
}

/** Looks again and again until the end. */
async function watch(
  open: () => Promise<{ look(): Promise<void>; end(): Promise<void> }>,
  until: AbortSignal,
): Promise<void> {
  const { look, end } = await open();
  try {
    while (!until.aborted) {
      await look();
      await setTimeout(lookEveryMs, undefined, { signal: until }).catch((error: unknown) => {
        if (!until.aborted) throw error;
      });
    }
  } finally {
    await end();
  }
}
