import { setTimeout } from 'node:timers/promises';
import { ended, type Played } from './play.ts';
import type { Stage } from './stage.ts';
import { plan as fullPlan, untilCancelled } from './stand-ins.ts';

const plan = { ...fullPlan, copies: fullPlan.copies.filter((c) => c.name !== 'east') };
const inMs = (ms: number) => new Date(Date.now() + ms).toISOString();

/** What a job goes through whose source's hours are over before it has come to its end. */
export const hoursScenarios: Record<string, (stage: Stage) => Promise<Played>> = {
  'backup.paused-for-its-hours': (stage) => {
    const { standIns } = stage;
    let areOpen = true;
    standIns.on('planBackup', () => ({ ...plan, closesAt: inMs(2_000) }));
    standIns.on('lookAtHours', () => {
      const now = { isOpen: areOpen, until: inMs(1_000) };
      areOpen = true;
      return now;
    });
    const pause = untilCancelled(async () => {
      while (!standIns.done.includes('publishCopy disk')) await setTimeout(20);
      areOpen = false;
    });
    standIns.on('uploadCopy west', ({ again = false }) => (again ? undefined : pause()));
    return ended(stage.start('backup', { source: 'shop' }));
  },

  'backup.came-too-late-for-its-hours': (stage) => {
    const { standIns } = stage;
    standIns.on('planBackup', () => ({
      ...plan,
      closesAt: inMs(standIns.attempts('planBackup') === 1 ? 0 : 3_600_000),
    }));
    return ended(stage.start('backup', { source: 'shop' }));
  },
};
