import type { PostgresLogicalSource } from '../../../policies/policy.ts';
import { connectionOf } from '../postgres/connection.ts';
import type { Source } from '../source.ts';
import { compareDatabase } from './compare.ts';
import { probe } from './probe.ts';
import { restoreDatabase } from './restore.ts';
import { sealDatabase } from './seal.ts';
import { testRestoreDatabase } from './test-restore.ts';

/** One PostgreSQL database, by pg_dump. */
export function createPostgresLogicalSource(
  policy: PostgresLogicalSource,
  { resolveSecret }: { resolveSecret: (ref: string) => Promise<string> },
): Source {
  const connection = () => connectionOf(policy, resolveSecret);
  return {
    name: policy.name,
    kind: 'postgres-logical',
    format: policy.format === 'directory' ? 'pax-tar' : 'parts',
    async probe() {
      const { estimatedBytes, facts } = await probe(await connection(), policy.name);
      return { estimatedBytes, facts };
    },
    seal: async (writer, options) => sealDatabase(policy, await connection(), writer, options),
    restore: restoreDatabase,
    compare: compareDatabase,
    testRestore: testRestoreDatabase,
  };
}
