import { readFile } from 'node:fs/promises';
import { Failure } from '../../policies/failure.ts';
import { parsePolicy } from '../../policies/parse.ts';
import type { Policy } from '../../policies/policy.ts';

/** Reads and checks a policy file. Throws PolicyInvalid with every problem, its line and column. */
export async function loadPolicy(file: string): Promise<Policy> {
  return parsePolicy(await readPolicyText(file), file);
}

/** A policy file's text, not yet checked. Throws PolicyInvalid when it cannot be read. */
export async function readPolicyText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
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
}
