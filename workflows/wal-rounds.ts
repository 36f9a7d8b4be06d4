import { CancellationScope, log, proxyActivities, sleep } from '@temporalio/workflow';
import type { StreamWalOutcome, WalHostActivities } from '../activities/wal-host.ts';
import type { WalArchived, WalTransferActivities } from '../activities/wal-transfer.ts';
import type { WalFinding, WalWatchActivities } from '../activities/wal-watch.ts';
import { formatBytes } from '../policies/progress.ts';
import { queues } from '../policies/queues.ts';
import type { WalArchiveInput, WalArchiveState } from './contracts.ts';
import { causeOf, messageOf } from './failure.ts';
import { archiving, brief, patient } from './options.ts';

/** What the two loops of a walArchive workflow work with. */
export interface Archive extends Required<WalArchiveInput> {
  /** Changes as things do. */
  state: WalArchiveState;
  host: string;
  /** Shows the state to people. */
  show(): void;
  /** No new round is begun. */
  isOver(): boolean;
}

export interface Notes {
  /** Tells of findings when its turn comes; nobody waits for it. */
  later(findings: () => Promise<WalFinding[]> | WalFinding[]): void;
  now(findings: WalFinding[]): Promise<void>;
}

const firstDelayMs = 1_000;
const delayMaxMs = 60_000;

const coordination = proxyActivities<WalWatchActivities>({ ...patient, taskQueue: queues.coordination });

/** Incidents are told one after the other; neither streaming nor shipping waits while the catalog is away. */
export function createNotes(source: string): Notes {
  let last: Promise<void> = Promise.resolve();
  const now = (findings: WalFinding[]) => coordination.noteWal({ source, findings });
  return {
    now,
    later(findings) {
      last = last
        .then(async () => now(await findings()))
        .catch((error: unknown) => {
          log.warn('how archiving stands could not be noted', { source, error: messageOf(error) });
        });
    },
  };
}

/** Streams round after round. What fails is tried again, from where the copies are then. */
export async function streaming(archive: Archive, notes: Notes): Promise<void> {
  const { source, state, roundMs, patienceMs, show } = archive;
  /** True once what comes next is no longer there: until it streams again. */
  let anew = false;
  let failingSince: number | null = null;
  let delayMs = firstDelayMs;
  while (!archive.isOver()) {
    try {
      archive.host = (await coordination.planWal({ source })).host;
      const host = proxyActivities<WalHostActivities>({
        ...archiving(roundMs),
        taskQueue: queues.backup(archive.host),
      });
      const { archived, gaps } = await whereItEnds(archive);
      if (state.streaming === 'well') notes.later(async () => [await coordination.judgeWalGaps({ source, gaps })]);
      const known = state.streaming;
      const outcome = await host.streamWal({ source, archived, anew, known, forMs: roundMs, patienceMs });
      if (outcome.state === 'over-limit') await giveSlotUp(archive, notes, outcome);
      else if (outcome.state !== known) {
        state.streaming = outcome.state;
        state.error = null;
        notes.later(() => [{ about: 'archiving', problem: null }, slotFinding(source, outcome)]);
        show();
      }
      anew = false;
      failingSince = null;
      delayMs = firstDelayMs;
    } catch (error) {
      if (CancellationScope.current().consideredCancelled) throw error;
      const problem = messageOf(error);
      log.warn('archiving WAL failed', { source, problem });
      state.streaming = 'failing';
      state.error = problem;
      show();
      failingSince ??= Date.now();
      if (causeOf(error)?.type === 'ChainBroken') {
        notes.later(() => [{ about: 'gap', problem }]);
        anew = true;
      } else if (isLasting(error) || Date.now() - failingSince >= patienceMs) {
        notes.later(() => [{ about: 'archiving', problem: `The WAL of ${source} is not archived: ${problem}` }]);
        await guardSlot(archive, notes);
      }
      await sleep(delayMs);
      delayMs = Math.min(delayMs * 2, delayMaxMs);
    }
  }
}

/** Carries to the copies, round after round. */
export async function shipping(archive: Archive, notes: Notes): Promise<void> {
  const { source, state, roundMs, patienceMs, show } = archive;
  let delayMs = firstDelayMs;
  while (!archive.isOver()) {
    const { shipWal } = proxyActivities<WalTransferActivities>({
      ...archiving(roundMs),
      taskQueue: queues.transfer(archive.host),
    });
    try {
      const { copies } = await shipWal({ source, known: state.copies, forMs: roundMs, patienceMs });
      const names = (list: WalArchiveState['copies']) => list.map((c) => c.copy).join();
      const hasChanged = names(copies) !== names(state.copies);
      state.copies = copies;
      delayMs = firstDelayMs;
      if (!hasChanged) continue;
      notes.later(() => [{ about: 'copies', problem: copiesProblem(source, copies) }]);
      show();
    } catch (error) {
      if (CancellationScope.current().consideredCancelled) throw error;
      const problem = messageOf(error);
      log.warn('carrying WAL to the copies failed', { source, problem });
      if (delayMs >= delayMaxMs / 2)
        notes.later(() => [{ about: 'copies', problem: `The WAL of ${source} goes to no copy: ${problem}` }]);
      await sleep(delayMs);
      delayMs = Math.min(delayMs * 2, delayMaxMs);
    }
  }
}

/** Where no copy answers, the slot and the staging disk say where to go on. */
async function whereItEnds({ source, host }: Archive): Promise<WalArchived> {
  const { findArchived } = proxyActivities<WalTransferActivities>({ ...brief, taskQueue: queues.transfer(host) });
  try {
    return await findArchived({ source });
  } catch (error) {
    if (CancellationScope.current().consideredCancelled) throw error;
    log.warn('no copy says how far it has the WAL', { source, problem: messageOf(error) });
    return { archived: null, gaps: [] };
  }
}

async function giveSlotUp(archive: Archive, notes: Notes, { keptBytes }: StreamWalOutcome): Promise<void> {
  const { source, state } = archive;
  const { dropWalSlot } = proxyActivities<WalHostActivities>({ ...brief, taskQueue: queues.backup(archive.host) });
  await attempt(() => dropWalSlot({ source }));
  const problem = `The server kept ${formatBytes(keptBytes ?? 0)} of WAL for ${source}: its slot was given up, and moments may be lost.`;
  notes.later(() => [{ about: 'slot', problem }]);
  state.streaming = 'failing';
  state.error = problem;
  archive.show();
}

/** While nothing is archived, the slot must not fill the server's disk. */
async function guardSlot({ source, host }: Archive, notes: Notes): Promise<void> {
  const { guardWalSlot } = proxyActivities<WalHostActivities>({ ...brief, taskQueue: queues.backup(host) });
  await attempt(async () => {
    const { dropped, keptBytes } = await guardWalSlot({ source });
    if (!dropped) return;
    const problem = `The server kept ${formatBytes(keptBytes ?? 0)} of WAL for ${source} while it was not archived: its slot was given up, and moments are lost.`;
    notes.later(() => [{ about: 'slot', problem }]);
  });
}

/** False when it failed: what is attempted here is attempted again, or not needed where the server is away. */
async function attempt(body: () => Promise<unknown>): Promise<boolean> {
  try {
    await body();
    return true;
  } catch (error) {
    if (CancellationScope.current().consideredCancelled) throw error;
    log.warn('the slot could not be looked after', { problem: messageOf(error) });
    return false;
  }
}

function slotFinding(source: string, { state, keptBytes }: StreamWalOutcome): WalFinding {
  if (state === 'well') return { about: 'slot', problem: null };
  const kept = formatBytes(keptBytes ?? 0);
  return {
    about: 'slot',
    problem: `The server kept ${kept} of WAL for ${source}, for copies are behind: it counts as safe on the staging disk now.`,
  };
}

function copiesProblem(source: string, copies: WalArchiveState['copies']): string | null {
  if (copies.length === 0) return null;
  return `The WAL of ${source} does not get to ${copies.map((c) => `${c.copy} (${c.error})`).join(', ')}`;
}

/** Nothing mends it but a person. */
function isLasting(error: unknown): boolean {
  const cause = causeOf(error);
  return cause?.nonRetryable === true && cause.type !== 'WorkerMissing';
}
