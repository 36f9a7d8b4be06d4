import { WorkflowNotFoundError } from '@temporalio/client';
import { Failure } from '../../policies/failure.ts';
import { type CoordinatorStatus, coordinatorWorkflowId, type OperatorAction } from '../../workflows/contracts.ts';
import type { Context } from '../context.ts';
import { namedPerson } from '../person.ts';

export interface CoordinatorOptions {
  action: 'pause' | 'resume' | 'drain' | 'restrict' | 'lift';
  operator?: string;
  reason?: string;
}

export async function coordinator(context: Context, options: CoordinatorOptions): Promise<number | undefined> {
  const by: OperatorAction = namedPerson(options, `backupctl coordinator ${options.action}`);
  const client = await context.temporal();
  const { address } = (await context.policy()).temporal;
  let status: CoordinatorStatus;
  try {
    status = await client.workflow
      .getHandle(coordinatorWorkflowId)
      .executeUpdate<CoordinatorStatus, [OperatorAction]>(options.action, { args: [by] });
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw error;
    throw new Failure('TemporalUnreachable', `No coordinator runs on Temporal at ${address}.`, {
      next: 'The first backup starts it: backupctl backup run SOURCE.',
      cause: error,
    });
  }
  context.out.result(status, () =>
    [
      `The coordinator is ${status.mode}: ${status.holders.length} of ${status.slots} slots in use, ${status.queue.length} waiting.`,
      ...strainWords(status),
    ].join('\n'),
  );
  return undefined;
}

/** Why only critical sources get slots, a line for each cause. */
export function strainWords({ strains = [] }: Pick<CoordinatorStatus, 'strains'>): string[] {
  return strains.map(({ why, since, lifted }) =>
    lifted
      ? `Lifted by ${lifted.operator} (${lifted.reason}), though ${why} (since ${since}).`
      : `Only critical sources get slots: ${why} (since ${since}).`,
  );
}
