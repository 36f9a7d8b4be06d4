import { setTimeout } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import { createSlotActivities } from '../../activities/slot.ts';
import { queues } from '../../policies/queues.ts';
import { type CoordinatorStatus, coordinatorWorkflowId } from '../../workflows/contracts.ts';
import { policyOf } from '../policies/policies.ts';
import { hoursScenarios } from './hours-scenarios.ts';
import { cancelled, ended, hanging, type Played, refuse, settled } from './play.ts';
import { rekeyScenarios } from './rekey-scenarios.ts';
import { restoreScenarios } from './restore-scenarios.ts';
import { type Stage, until } from './stage.ts';
import { callingRun, failure, plan as fullPlan } from './stand-ins.ts';
import { strainScenarios } from './strain-scenarios.ts';
import { walScenarios } from './wal-scenarios.ts';

/** Every way in which our workflows end, each played once on a real server: `workflow.ending` → the runs to keep. */
export const scenarios: Record<string, (stage: Stage) => Promise<Played>> = {
  'backup.succeeded': (stage) => ended(stage.start('backup', asked)),

  'backup.partial': (stage) => {
    stage.standIns.on('verifyCopy west', refuse('Corrupt'));
    return ended(stage.start('backup', asked));
  },

  'backup.sent-ahead': (stage) => {
    const sent = { key: 'shop/a', bytes: 7, sha256: 'ab', token: 'west' };
    stage.standIns.on('sendArtifact west', () => sent);
    return ended(stage.start('backup', asked));
  },

  'backup.failed-while-sending': async (stage) => {
    const told = Promise.withResolvers<void>();
    stage.standIns.on('sendArtifact west', hanging);
    stage.standIns.on('sealPoint', () => told.promise.then(refuse('SourceMissing')));
    const handle = await stage.start('backup', asked);
    while (!stage.standIns.done.includes('sendArtifact west')) await setTimeout(20);
    await handle.signal('sendingAhead', { copy: 'west' });
    told.resolve();
    return ended(Promise.resolve(handle));
  },

  'backup.no-copy': (stage) => {
    stage.standIns.on('publishCopy', refuse('StoreDenied'));
    return ended(stage.start('backup', asked));
  },

  'backup.answer-lost': (stage) => {
    stage.standIns.on('publishCopy west', refuse('Corrupt'));
    stage.standIns.on('withdrawCopy west', () => ({ published: true }));
    return ended(stage.start('backup', asked));
  },

  'backup.deadline-passed': (stage) => {
    const copies = plan.copies.map((c) => ({ ...c, deadlineMs: 500 }));
    stage.standIns.on('planBackup', () => ({ ...plan, copies }));
    stage.standIns.on('uploadCopy west', hanging);
    return ended(stage.start('backup', asked));
  },

  'backup.source-failed': (stage) => {
    let attempts = 0;
    stage.standIns.on('sealPoint', () => {
      attempts += 1;
      throw failure(attempts < 3 ? 'SourceUnreachable' : 'SourceMissing', 'no such source', attempts < 3);
    });
    return ended(stage.start('backup', asked));
  },

  'backup.validation-failed': (stage) => {
    const broken = { check: 'integrity', passed: false, details: 'read', error: 'block 7', durationMs: 1 } as const;
    stage.standIns.on('checkSealed', () => [broken]);
    return ended(stage.start('backup', asked));
  },

  'backup.taken-again-as-a-full-one': (stage) => {
    const broken = { check: 'integrity', passed: false, details: 'read', error: 'block 7', durationMs: 1 } as const;
    stage.standIns.on('sealPoint', ({ level }) => ({
      ...{ sourceBytes: 1, storedBytes: 1, entries: 1, warnings: [] },
      level: stage.standIns.attempts('sealPoint') === 1 ? 'incremental' : level,
    }));
    stage.standIns.on('checkSealed', () => (stage.standIns.attempts('checkSealed') === 1 ? [broken] : []));
    return ended(stage.start('backup', asked));
  },

  'backup.validation-timed-out': (stage) => {
    stage.standIns.on('testRestore', refuse('ValidationTimedOut'));
    return ended(stage.start('backup', asked));
  },

  'backup.unknown-source': (stage) => {
    stage.standIns.on('planBackup', refuse('SourceUnknown'));
    return ended(stage.start('backup', asked));
  },

  'backup.input-refused': (stage) => ended(stage.start('backup', {})),

  'backup.waited-for-its-hours': (stage) => {
    let plans = 0;
    stage.standIns.on('planBackup', () => {
      plans += 1;
      return plans > 1 ? plan : { ...plan, waitUntil: new Date(Date.now() + 1_000).toISOString() };
    });
    return ended(stage.start('backup', asked));
  },

  'backup.asked-again': async (stage) => {
    stage.standIns.on('requestSlot', callingRun);
    const handle = await stage.start('backup', asked);
    await until(handle, () => stage.standIns.attempts('requestSlot') === 1);
    await handle.signal('queuePosition', { position: 2 });
    await handle.signal('slotGranted', { runId: 'of another run' });
    await handle.signal('askAgain');
    await until(handle, () => stage.standIns.attempts('requestSlot') === 2);
    await handle.signal('slotGranted', { runId: (await handle.describe()).runId });
    return ended(Promise.resolve(handle));
  },

  'backup.cancelled-in-the-queue': async (stage) => {
    stage.standIns.on('requestSlot', callingRun);
    return cancelled(stage, await stage.start('backup', asked), 'requestSlot');
  },

  'backup.cancelled-sealing': async (stage) => {
    stage.standIns.on('sealPoint', hanging);
    return cancelled(stage, await stage.start('backup', asked), 'sealPoint');
  },

  'backup.cancelled-uploading': async (stage) => {
    stage.standIns.on('uploadCopy west', hanging);
    const handle = await stage.start('backup', asked);
    await until(handle, (s) => s.progressLine.includes('1/2 copies verified'));
    return cancelled(stage, handle, 'uploadCopy west');
  },

  'backup.cancelled-pruning': async (stage) => {
    stage.standIns.on('planPrune', () => [old('a')]);
    stage.standIns.on('pruneCopy', hanging);
    return cancelled(stage, await stage.start('backup', asked), 'pruneCopy disk');
  },

  'backup.pruned': (stage) => {
    stage.standIns.on('planPrune', () => [old('a'), old('b')]);
    stage.standIns.on('pruneCopy', ({ pointId }) => {
      if (pointId === 'b') refuse('ChecksumMismatch')();
    });
    return ended(stage.start('backup', asked));
  },

  'backup.catalog-differs': (stage) => {
    stage.standIns.on('concludeJob', refuse('CatalogDiffers'));
    return ended(stage.start('backup', asked));
  },

  'backup.left-something': async (stage) => {
    leaveThings(stage, 1);
    const played = await ended(stage.start('backup', asked));
    await settled(stage.client.workflow.getHandle(`cleanup/${plan.pointId}`));
    return played;
  },

  'cleanup.done': async (stage) => {
    leaveThings(stage, 2);
    await ended(stage.start('backup', asked));
    return ended(Promise.resolve(stage.client.workflow.getHandle(`cleanup/${plan.pointId}`)));
  },

  'cleanup.failed': async (stage) => {
    leaveThings(stage, Number.POSITIVE_INFINITY);
    await ended(stage.start('backup', asked));
    return ended(Promise.resolve(stage.client.workflow.getHandle(`cleanup/${plan.pointId}`)));
  },

  'scheduledBackup.made': (stage) => {
    due(stage);
    return ended(stage.start('scheduledBackup', asked));
  },

  'scheduledBackup.nothing-due': (stage) => ended(stage.start('scheduledBackup', asked)),

  'scheduledBackup.failed': (stage) => {
    due(stage);
    stage.standIns.on('planBackup', refuse('SourceUnknown'));
    return ended(stage.start('scheduledBackup', asked));
  },

  'scheduledBackup.cancelled': async (stage) => {
    due(stage);
    stage.standIns.on('sealPoint', hanging);
    return cancelled(stage, await stage.start('scheduledBackup', asked), 'sealPoint');
  },

  'repair.whole': (stage) => ended(stage.start('repair', broken)),

  'repair.mended': (stage) => {
    stage.standIns.on('findDamage west', () => ({ objects: 4, damages: [lost('manifest'), lost('key')], next: null }));
    return ended(stage.start('repair', broken));
  },

  'repair.left-damaged': (stage) => {
    stage.standIns.on('findDamage west', () => ({ objects: 4, damages: [lost('manifest'), lost('key')], next: null }));
    stage.standIns.on('removeDamaged', ({ keys }) => keys.map((key) => ({ key, reason: 'it is locked' })));
    stage.standIns.on('findDamage disk', refuse('StoreDenied'));
    return ended(stage.start('repair', broken));
  },

  'repair.failed': (stage) => {
    stage.standIns.on('planRepair', refuse('PointUnknown'));
    return ended(stage.start('repair', broken));
  },

  'repair.cancelled': async (stage) => {
    stage.standIns.on('findDamage west', hanging);
    return cancelled(stage, await stage.start('repair', broken), 'findDamage west');
  },

  'retention.done': (stage) => {
    stage.standIns.on('expirySources', () => ['shop', 'docs']);
    stage.standIns.on('decideExpiry', ({ source, passOver }) => {
      const remove = source === 'shop' && passOver.length === 0 ? ['a', 'b'] : [];
      return { source, host: 'local', remove, more: remove.length > 0, stays: 3, waiting: 1, stopped: null };
    });
    stage.standIns.on('expirePoints', ({ pointIds }) =>
      pointIds.map((pointId) => ({ pointId, gone: ['disk'], refused: pointId === 'b' ? 'it is held' : null })),
    );
    return ended(stage.start('retention', {}));
  },

  'retention.wal-expired': (stage) => {
    const wal = { from: '0/5000000', markedAt: '2026-01-01T00:00:00.000Z' };
    const nothing = { host: 'local', remove: [], more: false, stays: 3, waiting: 0, stopped: null };
    stage.standIns.on('decideExpiry', ({ source }) => ({ ...nothing, source, wal }));
    return ended(stage.start('retention', {}));
  },

  'retention.failed': (stage) => {
    stage.standIns.on('expirySources', () => ['shop', 'docs']);
    stage.standIns.on('decideExpiry', refuse('CatalogDiffers'));
    return ended(stage.start('retention', {}));
  },

  'retention.continued': async (stage) => {
    stage.standIns.on('expirySources', () => ['shop', 'docs']);
    const handle = await stage.start('retention', { historyBudget: 1 });
    await settled(handle);
    return { workflowId: handle.workflowId, runId: handle.firstExecutionRunId };
  },

  'coordinator.granted': async (stage) => {
    const jobs = await queueUp(stage, ['a', 'b', 'c', 'd', 'e']);
    await coordinatorOf(stage).executeUpdate('pause', { args: [by] });
    jobs.finish('a');
    await jobs.get('a').result();
    await coordinatorOf(stage).executeUpdate('resume', { args: [by] });
    await jobs.get('e').cancel();
    for (const source of ['b', 'c', 'd']) jobs.finish(source);
    await coordinatorOf(stage).executeUpdate('drain', { args: [by] });
    await coordinatorIs(stage, (s) => s.mode === 'drained');
    return atRest(stage);
  },

  'coordinator.continued': async (stage) => {
    const first = await startCoordinator(stage, 30);
    const jobs = await queueUp(stage, ['a', 'b', 'c', 'd']);
    for (const source of ['a', 'b', 'c', 'd']) jobs.finish(source);
    await coordinatorIs(stage, (s) => s.holders.length === 0 && s.queue.length === 0);
    return { workflowId: coordinatorWorkflowId, runId: first };
  },

  'coordinator.took-over': async (stage) => {
    stage.standIns.on('findJobs', () => ({
      holders: [{ workflowId: 'backup/held', runId: nobody, source: 'held' }],
      waiting: [{ workflowId: 'backup/waits', runId: nobody, source: 'waits' }],
    }));
    stage.standIns.on('watchHolders', ({ jobs }) => jobs.map((job) => ({ ...job, resetTo: null })));
    await startCoordinator(stage);
    await coordinatorIs(stage, (s) => s.leasesFreed === 1);
    return atRest(stage);
  },

  ...hoursScenarios,
  ...strainScenarios,
  ...walScenarios,
  ...rekeyScenarios,
  ...restoreScenarios,

  'coordinator.refused': (stage) =>
    ended(
      stage.client.workflow.start('coordinator', {
        workflowId: coordinatorWorkflowId,
        taskQueue: queues.coordination,
        args: [{ slots: 0 }],
      }),
    ),
};

const asked = { source: 'shop' };
const broken = { pointId: 'shop-1' };
const lost = (name: string) => ({
  key: `shop/shop-1/${name}`,
  state: name === 'key' ? ('missing' as const) : ('damaged' as const),
  problem: `${name} is not as it was.`,
  from: 'disk',
});
const by = { operator: 'Ada', reason: 'moving the disks' };
const plan = { ...fullPlan, copies: fullPlan.copies.filter((c) => c.name !== 'east') };
const nobody = '00000000-0000-4000-8000-000000000000';
const old = (pointId: string) => ({ pointId, copy: 'disk', others: ['west'], parent: null });
/** Before each scenario: two copies are as good as three, and take less room. */
export function prepare(stage: Stage): void {
  stage.standIns.clear();
  stage.standIns.on('planBackup', () => plan);
}

/** A copy and the staging disk cannot be cleaned up so many times. */
function leaveThings(stage: Stage, times: number): void {
  stage.standIns.on('uploadCopy west', refuse('StoreDenied'));
  const failing = { withdrawCopy: times, discardStaging: times };
  stage.standIns.on('withdrawCopy west', () => {
    if (failing.withdrawCopy-- > 0) throw failure('StoreDenied', 'west refuses', false);
    return { published: false };
  });
  stage.standIns.on('discardStaging', () => {
    if (failing.discardStaging-- > 0) throw failure('SecretMissing', 'no right to', false);
  });
}

function due(stage: Stage): void {
  const moment = { at: '2026-11-30T02:00:00.000Z', classes: ['daily' as const], level: 'full' as const };
  stage.standIns.on('decideBackup', () => ({
    backup: { classes: ['daily'], level: 'full' },
    due: [moment],
    lapsed: [moment],
  }));
}

const coordinatorOf = (stage: Stage) => stage.client.workflow.getHandle(coordinatorWorkflowId);

async function startCoordinator(stage: Stage, historyBudget?: number): Promise<string> {
  const { firstExecutionRunId } = await stage.client.workflow.start('coordinator', {
    workflowId: coordinatorWorkflowId,
    taskQueue: queues.coordination,
    args: [{ slots: 3, leaseTimeoutMs: 60_000, historyBudget }],
  });
  return firstExecutionRunId;
}

async function coordinatorIs(stage: Stage, wantedNow: (status: CoordinatorStatus) => boolean): Promise<void> {
  while (!wantedNow(await coordinatorOf(stage).query<CoordinatorStatus>('status'))) await setTimeout(20);
}

/** The coordinator as it is now; it is ended afterwards, for the next scenario. */
async function atRest(stage: Stage): Promise<Played> {
  const { workflowId, runId } = await coordinatorOf(stage).describe();
  return { workflowId, runId };
}

/** Backups on the real coordinator, each of which seals until it is told to finish. */
async function queueUp(stage: Stage, sources: string[]) {
  const { standIns } = stage;
  const real = createSlotActivities({ client: stage.client, policy: policyOf() });
  standIns.on('requestSlot', real.requestSlot);
  standIns.on('releaseSlot', real.releaseSlot);
  standIns.on('planBackup', ({ source }) => ({ ...plan, source, pointId: `${source}-1` }));
  const gates = new Map(sources.map((source) => [source, Promise.withResolvers<void>()]));
  standIns.on('sealPoint', async ({ source }) => {
    await gates.get(source)?.promise;
    return { sourceBytes: 1, storedBytes: 1, entries: 1, level: 'full', warnings: [] };
  });
  const handles = new Map<string, WorkflowHandle>();
  for (const source of sources) {
    handles.set(source, await stage.start('backup', { source }));
    const isKnown = (s: CoordinatorStatus) => [...s.holders, ...s.queue].some((j) => j.source === source);
    for (let isThere = false; !isThere; ) {
      isThere = await coordinatorIs(stage, isKnown).then(
        () => true,
        () => false,
      );
    }
  }
  return {
    finish: (source: string) => gates.get(source)?.resolve(),
    get(source: string): WorkflowHandle {
      const handle = handles.get(source);
      if (!handle) throw new Error(`no job of ${source}`);
      return handle;
    },
  };
}
