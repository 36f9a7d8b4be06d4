import type { SourcePolicy } from '../../policies/policy.ts';
import { createFilesSource } from './files/index.ts';
import { createPostgresLogicalSource } from './postgres-logical/index.ts';
import { createPostgresPhysicalSource } from './postgres-physical/index.ts';
import type { Source } from './source.ts';

export { createFilesSource } from './files/index.ts';
export { discardRestored, keepRestored } from './files/target.ts';
export { withHooks } from './hooks.ts';
export { restoreUri } from './postgres/restore-target.ts';
export { createPostgresLogicalSource } from './postgres-logical/index.ts';
export { createPostgresPhysicalSource } from './postgres-physical/index.ts';
export type {
  SealResult,
  Source,
} from './source.ts';

/** The source that a policy describes. */
export function openSource(policy: SourcePolicy, deps: { resolveSecret: (ref: string) => Promise<string> }): Source {
  switch (policy.kind) {
    case 'files':
      return createFilesSource(policy);
    case 'postgres-logical':
      return createPostgresLogicalSource(policy, deps);
    case 'postgres-physical':
      return createPostgresPhysicalSource(policy, deps);
  }
}
