import {
  CancellationScope,
  CancelledFailure,
  continueAsNew,
  defineQuery,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  TemporalFailure,
} from '@temporalio/workflow';
import type { WalHostActivities } from '../activities/wal-host.ts';
import type { WalWatchActivities } from '../activities/wal-watch.ts';
import { queues } from '../policies/queues.ts';
import { isSpent } from './budget.ts';
import type { WalArchiveInput, WalArchiveState, WalArchiveStatus } from './contracts.ts';
import { asJobFailure } from './failure.ts';
import { assertWalArchiveInput } from './inputs.ts';
import { createLabels } from './labels.ts';
import { patient, untiring } from './options.ts';
import { type Archive, createNotes, shipping, streaming } from './wal-rounds.ts';

const statusQuery = defineQuery<WalArchiveStatus>('status');

const { planWal } = proxyActivities<WalWatchActivities>({ ...patient, taskQueue: queues.coordination });

/**
 * Archives the WAL of a cluster: one activity streams and seals it on its host, another carries it to the copies, each
 * for a round at a time. What fails is tried again for ever, and told. Ends when it is cancelled; then it gives the
 * replication slot up, for nothing may make a server keep what nobody fetches.
 */
export async function walArchive(input: WalArchiveInput): Promise<void> {
  const wanted = assertWalArchiveInput(input);
  const { source } = wanted;
  const root = CancellationScope.current();
  const state = { ...wanted.state };
  createLabels()({ source, status: 'running' });
  setHandler(statusQuery, () => ({ source, ...state }));
  const show = () => setCurrentDetails(describe(source, state));
  show();
  let archive: Archive | null = null;
  try {
    const { host } = await planWal({ source });
    archive = { ...wanted, state, host, show, isOver: () => isSpent(wanted.historyBudget) };
    await both(archive);
  } catch (error) {
    if (!root.consideredCancelled) throw asJobFailure(error);
  }
  if (!root.consideredCancelled) await continueAsNew<typeof walArchive>({ ...wanted, state });
  await CancellationScope.nonCancellable(() => giveUp(source, archive?.host));
  throw new CancelledFailure(`The WAL of ${source} is no longer archived.`);
}

/** Whichever of the two is over first ends the other: neither goes without the other for a whole round. */
async function both(archive: Archive): Promise<void> {
  const scope = new CancellationScope();
  const ends = await scope.run(() => {
    const notes = createNotes(archive.source);
    const loops = [streaming(archive, notes), shipping(archive, notes)];
    return Promise.allSettled(loops.map((loop) => loop.finally(() => scope.cancel())));
  });
  // The loops end with Temporal's failures only when they are cancelled; anything else is a defect of ours.
  for (const end of ends) if (end.status === 'rejected' && !(end.reason instanceof TemporalFailure)) throw end.reason;
}

async function giveUp(source: string, host: string | undefined): Promise<void> {
  if (host === undefined) return;
  const { dropWalSlot } = proxyActivities<WalHostActivities>({ ...untiring, taskQueue: queues.backup(host) });
  await dropWalSlot({ source });
  await createNotes(source).now(
    (['archiving', 'slot', 'copies', 'gap'] as const).map((about) => ({ about, problem: null })),
  );
}

function describe(source: string, { streaming: how, error, copies }: WalArchiveState): string {
  const words = {
    well: `🌊 The WAL of ${source} is archived.`,
    behind: `🐢 The WAL of ${source} lies on the staging disk; copies are behind.`,
    failing: error === null ? `⏳ The WAL of ${source} is about to be archived.` : `❌ ${error}`,
  }[how];
  return [words, ...copies.map((c) => `- ${c.copy}: ${c.error}`)].join('\n');
}
