import type { SourcePolicy } from '../../policies/policy.ts';
import { createFilesSource } from './files/index.ts';
import { createPostgresLogicalSource } from './postgres-logical/index.ts';
import type { Source } from './source.ts';

export { createFilesSource } from './files/index.ts';
export { withHooks } from './hooks.ts';
export { restoreUri } from './postgres/restore-target.ts';
export { createPostgresLogicalSource } from './postgres-logical/index.ts';
export type {
  SealResult,
  Source,
} from './source.ts';

/** The source that a policy describes. */
export function openSource(policy: SourcePolicy, deps: { resolveSecret: (ref: string) => Promise<string> }): Source {
  return policy.kind === 'files' ? createFilesSource(policy) : createPostgresLogicalSource(policy, deps);
}
