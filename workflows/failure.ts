import { ActivityFailure, ChildWorkflowFailure } from '@temporalio/workflow';

/** The innermost message: activity and child failures only wrap it. */
export function messageOf(error: unknown): string {
  let at = error;
  while ((at instanceof ActivityFailure || at instanceof ChildWorkflowFailure) && at.cause) at = at.cause;
  return at instanceof Error ? at.message : String(at);
}
