import { asTargetSilence } from '../../answering.ts';
import { oneByOne } from '../../one-by-one.ts';
import { openSideThread, type SideThread } from '../../side-thread.ts';
import { createTargetCalls, type TargetCalls } from './target-calls.ts';

/** Folders that something is restored into. */
export type Target = SideThread<TargetCalls>;

const script = new URL('./target-thread.ts', import.meta.url);
const memory = { old: 64, young: 2 };

/**
 * A target that is touched by a thread of its own, but for files' contents, which have theirs: it may be on anything that is
 * mounted somewhere. Throws SourceUnreachable, as its calls do, where it does not answer.
 */
export function openTarget(folder: string): Target {
  return openSideThread({ script, folder, memory, slow: ['claim', 'finish', 'undo', 'discard'] });
}

/** A target on the staging disk: that answers, or nothing here does. */
export function stagedTarget(): Target {
  const calls = createTargetCalls();
  const inTurn = oneByOne();
  return {
    call: (name, ...[input]) => inTurn(() => (calls[name] as (given: unknown) => Promise<never>)(input)),
    close() {},
  };
}

/** As in claim.ts, beside the main thread. Throws TargetUnusable. */
export async function keepRestored(folder: string, job: string): Promise<void> {
  await withTarget(folder, (target) => target.call('keep', { folder, job }));
}

/** As in claim.ts, beside the main thread. Throws TargetUnusable. */
export async function discardRestored(folder: string, job: string): Promise<void> {
  await withTarget(folder, (target) => target.call('discard', { folder, job }));
}

async function withTarget(folder: string, body: (target: Target) => Promise<void>): Promise<void> {
  try {
    const target = openTarget(folder);
    await body(target).finally(() => target.close());
  } catch (error) {
    throw asTargetSilence(error);
  }
}
