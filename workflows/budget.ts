import { workflowInfo } from '@temporalio/workflow';

/** Whether a history has grown so long that its workflow is to go on in a new run, with all it knows. */
export function isSpent(historyBudget: number): boolean {
  const { continueAsNewSuggested, historyLength } = workflowInfo();
  return continueAsNewSuggested || historyLength > historyBudget;
}
