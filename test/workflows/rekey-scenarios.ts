import type { RekeyPage } from '../../activities/rekey.ts';
import { cancelled, ended, hanging, type Played, refuse } from './play.ts';
import type { Stage } from './stage.ts';

/** How wrapping keys anew ends. */
export const rekeyScenarios: Record<string, (stage: Stage) => Promise<Played>> = {
  'rekey.done': (stage) => {
    stage.standIns.on('rekeyPoints', ({ source, after }) => {
      if (source === 'docs') refuse('StoreDenied')();
      return after === null ? { ...page, after: 'shop-1' } : { ...page, former: [former] };
    });
    stage.standIns.on('removeKeys', () => [
      { pointId: 'shop-1', copy: 'west', removed: [], kept: [{ name: 'key.1.age', why: 'it is locked' }] },
    ]);
    return ended(stage.start('rekey', { ...asked, targets: [{ source: 'docs' }, { source: 'shop' }], revoke: true }));
  },

  'rekey.refused': (stage) => ended(stage.start('rekey', { ...asked, operator: ' ' })),

  'rekey.cancelled': async (stage) => {
    stage.standIns.on('rekeyPoints', hanging);
    return cancelled(stage, await stage.start('rekey', asked), 'rekeyPoints');
  },
};

const asked = { targets: [{ source: 'shop' }], operator: 'Ada', reason: 'Ben has left' };
const former = { pointId: 'shop-1', copy: 'west', keep: { name: 'key.2.age', sha256: 'e'.repeat(64) } };
const page: RekeyPage = {
  ...{ points: 1, added: 1, present: 0, unproven: 0, moreProblems: 0 },
  ...{ former: [], problems: [], after: null },
};
