import { readFile } from 'node:fs/promises';
import { Failure } from '../../policies/failure.ts';
import { parsePolicy } from '../../policies/parse.ts';
import type { Policy } from '../../policies/policy.ts';

/** Reads and checks a policy file. Throws PolicyInvalid with every problem, its line and column. */
export async function loadPolicy(file: string): Promise<Policy> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new Failure(
      'PolicyInvalid',
      `The policy file ${file} cannot be read (${(error as NodeJS.ErrnoException).code}).`,
      {
        next: 'Name another one with --policy FILE or BACKUP_POLICY, or begin with policies/default.yaml.',
        cause: error,
      },
    );
  }
  return parsePolicy(text, file);
}
