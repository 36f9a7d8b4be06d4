import { setTimeout } from 'node:timers/promises';
import { queues } from '../../policies/queues.ts';
import { type CoordinatorStatus, coordinatorWorkflowId } from '../../workflows/contracts.ts';
import type { Played } from './play.ts';
import type { Stage } from './stage.ts';

const by = { operator: 'Ada', reason: 'moving the disks' };

/** What a coordinator goes through while something is under strain. */
export const strainScenarios: Record<string, (stage: Stage) => Promise<Played>> = {
  'coordinator.restricted': async (stage) => {
    const handle = await stage.client.workflow.start('coordinator', {
      workflowId: coordinatorWorkflowId,
      taskQueue: queues.coordination,
      args: [{ slots: 3, leaseTimeoutMs: 60_000 }],
    });
    const strain = (cause: string, why: string | null, leaseMs = 600_000) =>
      handle.signal('strain', { cause, why, leaseMs });
    const has = async (strains: number) => {
      while ((await handle.query<CoordinatorStatus>('status')).strains.length !== strains) await setTimeout(20);
    };
    await strain('wal/shop', 'the WAL of shop waits');
    await strain('wal/docs', 'the WAL of docs waits', 1_000);
    await has(2);
    // It lapses.
    await has(1);
    await handle.executeUpdate('restrict', { args: [by] });
    await handle.executeUpdate('lift', { args: [by] });
    await strain('wal/shop', null);
    await has(0);
    while (stage.standIns.attempts('noteStrain') === 0) await setTimeout(20);
    const { runId } = await handle.describe();
    return { workflowId: coordinatorWorkflowId, runId };
  },
};
