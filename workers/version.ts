import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { WorkerOptions } from '@temporalio/worker';

/** The name under which Temporal knows all versions of our coordination workers. */
export const deploymentName = 'backup-coordinator';

/** What decides how a workflow's history is replayed: the workflows, the rules they go by, and the SDK. */
const decidingRooms = ['workflows', 'policies'] as const;

/**
 * Names the version of the workflow code by its content: the same on every machine, another one after any change that
 * could matter to a history. `VERSION-HASH`, e.g. `0.1.0-3f9a0c62d1b7`.
 *
 * @param root folder of the rooms and of package.json
 */
export async function workflowBuildId(root = path.dirname(import.meta.dirname)): Promise<string> {
  const { version, dependencies } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
  const hash = createHash('sha256').update(JSON.stringify([dependencies['@temporalio/workflow'], dependencies.zod]));
  for (const room of decidingRooms) {
    const names = await readdir(path.join(root, room), { recursive: true });
    for (const name of names.filter((n) => n.endsWith('.ts')).sort()) {
      hash.update(JSON.stringify([room, name])).update(await readFile(path.join(root, room, name)));
    }
  }
  return `${version}-${hash.digest('hex').slice(0, 12)}`;
}

/**
 * Tells Temporal which version a coordination worker runs. `pinned`: Temporal also routes by it, so that a backup ends
 * under the version that began it while its workers are there, and new ones begin under the one that is current
 * (docs/decisions/006-workflow-versions.md). Otherwise the version is only noted in each history, and any worker takes
 * any workflow.
 */
export function deploymentOptions(
  buildId: string,
  { pinned }: { pinned: boolean },
): NonNullable<WorkerOptions['workerDeploymentOptions']> {
  const version = { deploymentName, buildId };
  if (!pinned) return { version, useWorkerVersioning: false };
  // Each workflow says for itself; should one ever say nothing, its history is the safer one to leave alone.
  return { version, useWorkerVersioning: true, defaultVersioningBehavior: 'PINNED' };
}
