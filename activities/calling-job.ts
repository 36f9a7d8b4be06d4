import { Context } from '@temporalio/activity';
import type { Client } from '@temporalio/client';

/** The run that the activity under way belongs to. */
export function callingJob(): { workflowId: string; runId: string } {
  const { workflowExecution } = Context.current().info;
  if (!workflowExecution) throw new Error('Only workflows call this.');
  const { workflowId, runId } = workflowExecution;
  return { workflowId, runId };
}

/** Signals the run that the activity under way belongs to. */
export async function tellCallingJob(client: Client, signal: string, argument: object): Promise<void> {
  const { workflowId, runId } = callingJob();
  await client.workflow.getHandle(workflowId, runId).signal(signal, argument);
}
