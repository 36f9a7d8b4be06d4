import { isFailure } from '../policies/failure.ts';
import type { Refusal } from '../policies/repair.ts';

/** Does something with each key, in order. What trying again cannot mend is told of that key; all else is thrown. */
export async function refusing(keys: string[], work: (key: string) => Promise<void>): Promise<Refusal[]> {
  const refused: Refusal[] = [];
  for (const key of keys) {
    try {
      await work(key);
    } catch (error) {
      if (!isFailure(error) || error.retryable) throw error;
      refused.push({ key, reason: `${error.message} ${error.next}` });
    }
  }
  return refused;
}
