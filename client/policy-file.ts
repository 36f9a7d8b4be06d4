import { existsSync } from 'node:fs';
import path from 'node:path';
import { Failure } from '../policies/failure.ts';

const usual = ['policy.yaml', '.data/policy.yaml'];

/** The policy file to use: --policy, BACKUP_POLICY, ./policy.yaml, .data/policy.yaml (made by `npm start`). */
export function findPolicyFile({ given, env, cwd }: { given?: string; env: NodeJS.ProcessEnv; cwd: string }): string {
  const named = given ?? env.BACKUP_POLICY;
  if (named) return path.resolve(cwd, named);
  const found = usual.map((file) => path.resolve(cwd, file)).find((file) => existsSync(file));
  if (found) return found;
  throw new Failure('PolicyInvalid', `There is no policy file: neither ${usual.join(' nor ')} in ${cwd}.`, {
    next: 'Name one with --policy FILE or BACKUP_POLICY, or run "npm start", which makes one.',
  });
}
