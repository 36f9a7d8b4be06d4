import { cancelled, ended, hanging, type Played, refuse } from './play.ts';
import type { Stage } from './stage.ts';
import { plan } from './stand-ins.ts';

/** How a restore ends. */
export const restoreScenarios: Record<string, (stage: Stage) => Promise<Played>> = {
  'restore.succeeded': (stage) => ended(stage.start('restore', wanted)),

  'restore.stayed-marked': (stage) => {
    stage.standIns.on('keepRestore', refuse('TargetUnusable'));
    return ended(stage.start('restore', wanted));
  },

  'restore.refused': (stage) => ended(stage.start('restore', { ...wanted, operator: '' })),

  'restore.failed': (stage) => {
    stage.standIns.on('restorePoint', refuse('TargetNotEmpty'));
    return ended(stage.start('restore', wanted));
  },

  'restore.other-copy': (stage) => {
    stage.standIns.on('locatePoint', ({ passOver = [] }) => ({
      pointId: plan.pointId,
      from: passOver.length === 0 ? 'disk' : 'west',
    }));
    stage.standIns.on('restorePoint', ({ pointId, from }) =>
      from === 'disk' ? refuse('ObjectMissing')() : { pointId, from, entries: 7, bytes: 3_000_000, warnings: [] },
    );
    return ended(stage.start('restore', wanted));
  },

  'restore.cancelled': async (stage) => {
    stage.standIns.on('restorePoint', hanging);
    return cancelled(stage, await stage.start('restore', wanted), 'restorePoint');
  },
};

const wanted = { source: 'shop', into: { directory: '/restored' }, operator: 'Ada', reason: 'the disk burnt' };
