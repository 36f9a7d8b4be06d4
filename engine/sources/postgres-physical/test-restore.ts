import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { formatBytes } from '../../../policies/progress.ts';
import type { Check } from '../../../policies/recovery-point.ts';
import type { PointReader } from '../../artifact/index.ts';
import { reapInstances } from '../../sites/index.ts';
import { checkFromDamage, failedCheck, passedCheck } from '../checks.ts';
import type { TestRestoreOptions } from '../source.ts';
import { binariesFor } from './binaries.ts';
import { compareCluster } from './compare.ts';
import { examineCluster } from './examine.ts';
import { type Isolated, openIsolated } from './isolated.ts';
import { restoreCluster } from './restore.ts';

export interface ClusterTestRestoreOptions extends TestRestoreOptions {
  /** For tests: does something to the restored files before a server sees them. */
  beforeStart?: (dataDir: string) => Promise<void>;
}

/**
 * Restores into a folder of its own, has pg_verifybackup compare every file, recovers the cluster in an isolated server
 * of the same major version (own port, own settings, no way out, destroyed afterwards), and has it looked at from
 * within: every database opens, every row is read, pg_amcheck and the page checksums find nothing.
 */
export async function testRestoreCluster(point: PointReader, options: ClusterTestRestoreOptions): Promise<Check[]> {
  const { workDir, signal, onProgress } = options;
  const { facts } = point.backup;
  const from = performance.now();
  const dataDir = path.join(workDir, 'pgdata');
  let isolated: Isolated | null = null;
  try {
    await mkdir(workDir, { recursive: true, mode: 0o700 });
    // What an attempt that was killed has left.
    await reapInstances(workDir);
    await rm(dataDir, { recursive: true, force: true });
    const tools = await binariesFor(Number(facts.serverMajor), `The cluster of ${point.backup.id}`);
    const restored = await restoreCluster(point, { into: dataDir, signal, onProgress }, { isThrowaway: true });
    await options.beforeStart?.(dataDir);
    const compared = await compareCluster(point, dataDir, signal);
    if (compared.differences.length > 0) {
      return [failedCheck('restore_test', performance.now() - from, compared.differences.join('; '))];
    }
    isolated = await openIsolated({ dataDir, workDir, tools, facts, signal });
    const restore = passedCheck(
      'restore_test',
      performance.now() - from,
      `${formatBytes(restored.bytes)} in ${restored.entries.toLocaleString('en-US')} entries restored, verified by pg_verifybackup, and recovered to ${isolated.recoveredTo} by an isolated PostgreSQL ${tools.major}`,
    );
    const contentFrom = performance.now();
    const { problems, details } = await examineCluster(isolated, { tools, facts, signal });
    const took = performance.now() - contentFrom;
    if (problems.length === 0) return [restore, passedCheck('content', took, details)];
    return [restore, failedCheck('content', took, problems.join('; '))];
  } catch (error) {
    if (signal.aborted) throw error;
    return [checkFromDamage('restore_test', performance.now() - from, error)];
  } finally {
    await isolated?.destroy();
    await reapInstances(workDir);
    await rm(dataDir, { recursive: true, force: true });
  }
}
