import type { PostgresPhysicalSource } from '../../../policies/policy.ts';
import { replicationOf } from '../postgres/connection.ts';
import type { Source } from '../source.ts';
import { compareCluster } from './compare.ts';
import { probeCluster } from './probe.ts';
import { restoreCluster } from './restore.ts';
import { sealCluster } from './seal.ts';
import { testRestoreCluster } from './test-restore.ts';

/** A whole PostgreSQL cluster, by a base backup over the replication protocol. */
export function createPostgresPhysicalSource(
  policy: PostgresPhysicalSource,
  { resolveSecret }: { resolveSecret: (ref: string) => Promise<string> },
): Source {
  const connection = () => replicationOf(policy, resolveSecret);
  return {
    name: policy.name,
    kind: 'postgres-physical',
    format: 'pax-tar',
    async probe() {
      const { facts } = await probeCluster(await connection(), policy.name);
      return { estimatedBytes: 0, facts };
    },
    seal: async (writer, options) => sealCluster(policy, await connection(), writer, options),
    restore: (point, options) => restoreCluster(point, options),
    compare: compareCluster,
    testRestore: testRestoreCluster,
  };
}
