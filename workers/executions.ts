import { type Client, WorkflowNotFoundError } from '@temporalio/client';

/** Tells whether a workflow run is still open. A run that Temporal no longer knows is not. */
export function isRunning(client: Client): (workflowId: string, runId: string) => Promise<boolean> {
  return async (workflowId, runId) => {
    try {
      const { status } = await client.workflow.getHandle(workflowId, runId).describe();
      return status.name === 'RUNNING';
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return false;
      throw error;
    }
  };
}
