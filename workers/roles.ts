import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Worker, type WorkerOptions } from '@temporalio/worker';
import { ensureCoordinator } from '../activities/slot.ts';
import { Failure } from '../policies/failure.ts';
import type { Policy } from '../policies/policy.ts';
import { queues, type Role } from '../policies/queues.ts';
import { walSources } from '../policies/wal-sources.ts';
import { composeActivities } from './compose.ts';
import { ensureSearchAttributes } from './search-attributes.ts';
import { deploymentOptions, workflowBuildId } from './version.ts';
import { bundledWorkflows, workflowsEntry } from './workflow-bundle.ts';

export interface RoleOptions {
  policy: Policy;
  /** The machine this worker stands on; part of its queue's name. */
  host: string;
  /** Workflows stay with the version of the code that began them: see workers/version.ts. */
  pinned: boolean;
}

/**
 * How much each role does at once: all that the jobs which hold a slot can ask of one host, so that no task waits here
 * (workflows/options.ts), and no more. So the backup slots hold fleet-wide through the coordinator, and here too.
 */
function concurrency(role: Role, policy: Policy, host: string): number {
  const { limits, copies } = policy;
  // Archiving WAL takes no slot: it is always under way, beside a short look at the slot or at the copies.
  const archiving = 2 * walSources(policy, host).length;
  switch (role) {
    case 'coordination':
      return 20;
    case 'backup':
      return limits.backupSlots + archiving;
    case 'validation':
      return limits.backupSlots;
    case 'transfer':
      return limits.backupSlots * copies.length + archiving;
    case 'retention':
    case 'recovery':
      return 2;
  }
}

/** Heartbeats also bring cancellations, and keep what the next attempt resumes from: they are not saved up for long. */
const heartbeatEveryMs = 2_000;

/** Connects and polls the role's queue; `done` resolves when it has shut down. */
export async function startRole(role: Role, { policy, host, pinned }: RoleOptions): Promise<{ done: Promise<void> }> {
  const { address, namespace } = policy.temporal;
  const connection = await connect(address);
  const calls = await Connection.connect({ address });
  const client = new Client({ connection: calls, namespace });
  if (role === 'coordination') await ensureSearchAttributes(calls, namespace);
  const composed = await composeActivities(role, { policy, client, host });
  const options: WorkerOptions = {
    connection,
    namespace,
    taskQueue: queueOf(role, host),
    activities: composed.activities,
    maxConcurrentActivityTaskExecutions: concurrency(role, policy, host),
    maxHeartbeatThrottleInterval: heartbeatEveryMs,
    shutdownGraceTime: '10s',
    // The limit of a cancelled activity's clean-up: an isolated server must be stopped, uploads taken back.
    shutdownForceTime: '60s',
    ...(role === 'coordination'
      ? {
          ...(await bundledWorkflows(workflowsEntry({ pinned }))),
          workerDeploymentOptions: deploymentOptions(await workflowBuildId(), { pinned }),
        }
      : {}),
  };
  const worker = await Worker.create(options);
  // Whoever serves the coordinator's queue tells it what the policy says now.
  if (role === 'coordination') await ensureCoordinator(client, policy);
  const run = async () => {
    try {
      await worker.run();
    } finally {
      await composed.close();
      await calls.close();
      await connection.close();
    }
  };
  return { done: run() };
}

function queueOf(role: Role, host: string): string {
  return role === 'coordination' ? queues.coordination : queues[role](host);
}

async function connect(address: string): Promise<NativeConnection> {
  try {
    return await NativeConnection.connect({ address });
  } catch (error) {
    throw new Failure('TemporalUnreachable', `Temporal does not answer at ${address}.`, {
      next: 'Start it (npm start brings one up), or correct temporal.address in the policy file.',
      cause: error,
    });
  }
}
