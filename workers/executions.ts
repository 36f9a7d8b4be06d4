import { type Client, WorkflowNotFoundError } from '@temporalio/client';

/**
 * Finds the run that is open in the place of the one that is named: itself, or the one it was reset to. Null when there
 * is none, or when Temporal no longer knows the run.
 */
export function openRun(client: Client): (workflowId: string, runId: string) => Promise<string | null> {
  return async (workflowId, runId) => {
    try {
      for (let at = runId; at !== ''; ) {
        const { status, raw } = await client.workflow.getHandle(workflowId, at).describe();
        // One that a person has paused goes on some day.
        if (status.name === 'RUNNING' || status.name === 'PAUSED') return at;
        at = raw.workflowExtendedInfo?.resetRunId ?? '';
      }
      return null;
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return null;
      throw error;
    }
  };
}

/** Tells whether a workflow run is still open, or goes on as another since it was reset. */
export function isRunning(client: Client): (workflowId: string, runId: string) => Promise<boolean> {
  const open = openRun(client);
  return async (workflowId, runId) => (await open(workflowId, runId)) !== null;
}
