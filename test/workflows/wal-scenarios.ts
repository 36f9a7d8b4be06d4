import { setTimeout } from 'node:timers/promises';
import type { StreamWalOutcome } from '../../activities/wal-host.ts';
import { cancelled, ended, hanging, type Played, refuse } from './play.ts';
import type { Stage } from './stage.ts';

/** How archiving WAL ends, or what it went through until somebody ended it. */
export const walScenarios: Record<string, (stage: Stage) => Promise<Played>> = {
  'walArchive.cancelled': async (stage) => {
    streams(stage, 'well');
    return cancelled(stage, await stage.start('walArchive', input), 'shipWal', 'streamWal', 'streamWal');
  },

  'walArchive.over-limit': async (stage) => {
    streams(stage, 'well', 'behind', 'over-limit');
    return cancelled(stage, await stage.start('walArchive', input), 'dropWalSlot', ...Array(4).fill('streamWal'));
  },

  'walArchive.began-anew': async (stage) => {
    const gaps = [{ copy: 'west', timeline: 1, from: '0/1000000', to: '0/2000000' }];
    stage.standIns.on('findArchived', () => ({ archived: null, gaps }));
    stage.standIns.on('judgeWalGaps', () => ({ about: 'gap', problem: 'west has a gap' }));
    streams(stage, refuse('ChainBroken'), 'well');
    return cancelled(stage, await stage.start('walArchive', input), ...Array(3).fill('streamWal'));
  },

  'walArchive.guarded-its-slot': async (stage) => {
    stage.standIns.on('guardWalSlot', () => ({ keptBytes: 20_000_000_000, dropped: true }));
    stage.standIns.on('findArchived', refuse('StoreDenied'));
    streams(stage, refuse('SourceAuthentication'));
    return cancelled(stage, await stage.start('walArchive', input), 'guardWalSlot', 'streamWal', 'streamWal');
  },

  'walArchive.copies-were-away': async (stage) => {
    const rounds = [() => ({ copies: [{ copy: 'west', error: 'west is away' }] }), refuse('StoreDenied')];
    stage.standIns.on('shipWal', () => (rounds.shift() ?? hanging)());
    return cancelled(stage, await stage.start('walArchive', input), ...Array(3).fill('shipWal'), 'streamWal');
  },

  'walArchive.continued': async (stage) => {
    streams(stage, ...Array<'well'>(8).fill('well'));
    const handle = await stage.start('walArchive', { ...input, historyBudget: 60 });
    const { workflowId, runId } = await handle.describe();
    while ((await handle.describe()).runId === runId) await setTimeout(20);
    await handle.terminate();
    return { workflowId, runId };
  },

  'walArchive.unknown-source': (stage) => {
    stage.standIns.on('planWal', refuse('UsageInvalid'));
    return ended(stage.start('walArchive', input));
  },

  'walArchive.refused': (stage) => ended(stage.start('walArchive', {})),
};

const input = { source: 'shop', patienceMs: 0 };

/** One outcome or failure after the other; then it streams until it is cancelled. */
function streams(stage: Stage, ...rounds: (StreamWalOutcome['state'] | (() => never))[]): void {
  stage.standIns.on('streamWal', () => {
    const next = rounds.shift();
    if (next === undefined) return hanging();
    return typeof next === 'string' ? { state: next, keptBytes: 20_000_000_000 } : next();
  });
}
