import type { RekeyPage } from '../../activities/rekey.ts';
import type { RekeyWalPage } from '../../activities/rekey-wal.ts';
import { cancelled, ended, hanging, type Played, refuse, settled } from './play.ts';
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
    stage.standIns.on('rekeyWal', ({ after }) => (after === null ? { ...walPage, after: walKey } : walPage));
    return ended(stage.start('rekey', { ...asked, targets: [{ source: 'docs' }, { source: 'shop' }], revoke: true }));
  },

  'rekey.continued': async (stage) => {
    stage.standIns.on('rekeyWal', ({ after }) => ({ ...walPage, former: [], after: after === null ? walKey : null }));
    const handle = await stage.start('rekey', { ...asked, historyBudget: 1 });
    await settled(handle);
    return { workflowId: handle.workflowId, runId: handle.firstExecutionRunId };
  },

  'rekey.refused': (stage) => ended(stage.start('rekey', { ...asked, operator: ' ' })),

  'rekey.cancelled': async (stage) => {
    stage.standIns.on('rekeyPoints', hanging);
    return cancelled(stage, await stage.start('rekey', asked), 'rekeyPoints');
  },
};

const asked = { targets: [{ source: 'shop' }], operator: 'Ada', reason: 'Ben has left' };
const former = { pointId: 'shop-1', copy: 'west', keep: { name: 'key.2.age', sha256: 'e'.repeat(64) } };
const walKey = 'shop/wal/00000001/history-abcdef01.wal';
const walPage: RekeyWalPage = {
  ...{ objects: 1, added: 1, present: 0, unproven: 0, inLine: 1, moreProblems: 0 },
  ...{ former: [{ key: walKey, copies: ['west'], keep: former.keep }], problems: [], after: null },
};
const page: RekeyPage = {
  ...{ points: 1, added: 1, present: 0, unproven: 0, moreProblems: 0 },
  ...{ former: [], problems: [], after: null },
};
