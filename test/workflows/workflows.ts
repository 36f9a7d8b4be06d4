import { type ActivityOptions, executeChild, proxyActivities } from '@temporalio/workflow';
import type { RestoreInput } from '../../workflows/contracts.ts';
import { asJobFailure } from '../../workflows/failure.ts';

/** Our workflows as they are, and what tests need beside them. */
export * from '../../workflows/index.ts';

/** A workflow that would start a restore by itself. */
export async function parentOfRestore(input: RestoreInput): Promise<void> {
  await executeChild('restore', { args: [input] });
}

/** Does one step under the given options, and fails as our workflows do. */
export async function oneStep({ step, options }: { step: string; options: ActivityOptions }): Promise<void> {
  try {
    await proxyActivities(options)[step]?.();
  } catch (error) {
    throw asJobFailure(error);
  }
}
