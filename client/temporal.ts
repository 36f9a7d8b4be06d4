import { once } from 'node:events';
import net from 'node:net';
import { Client, Connection, WorkflowNotFoundError } from '@temporalio/client';
import { Failure } from '../policies/failure.ts';
import type { Policy } from '../policies/policy.ts';
import { queues } from '../policies/queues.ts';

const connectTimeoutMs = 5_000;

/** Connects to Temporal. Throws TemporalUnreachable with the address. */
export async function connect({ address, namespace }: Policy['temporal']): Promise<Client> {
  try {
    // gRPC tries until its time is up, also where nobody listens; the kernel knows that at once.
    await knock(address);
    const connection = await Connection.connect({ address, connectTimeout: connectTimeoutMs });
    return new Client({ connection, namespace });
  } catch (error) {
    const { code } = error as { code?: unknown };
    throw new Failure(
      'TemporalUnreachable',
      `Temporal does not answer at ${address}${typeof code === 'string' ? ` (${code})` : ''}.`,
      {
        next: 'Start it ("npm start" brings one up), or correct temporal.address in the policy file.',
        cause: error,
      },
    );
  }
}

async function knock(address: string): Promise<void> {
  const { hostname, port } = new URL(`tcp://${address}`);
  const socket = net.connect({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || 7233),
    timeout: connectTimeoutMs,
  });
  socket.once('timeout', () => socket.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })));
  try {
    await once(socket, 'connect');
  } finally {
    socket.destroy();
  }
}

export interface StartOptions {
  type: 'backup' | 'repair' | 'restore';
  source: string;
  input: object;
  /** What lists of workflows show, one line. */
  summary: string;
}

export interface Started {
  workflowId: string;
  runId: string;
}

/** Starts a job by its type's name. */
export async function startWorkflow(client: Client, { type, source, input, summary }: StartOptions): Promise<Started> {
  const workflowId = `${type}/${source}/${new Date().toISOString()}`;
  const { firstExecutionRunId } = await client.workflow.start(type, {
    workflowId,
    taskQueue: queues.coordination,
    args: [input],
    staticSummary: summary,
  });
  return { workflowId, runId: firstExecutionRunId };
}

/** Whether a workflow runs, be it as another run since it was reset. Temporal forgets those that ended long ago. */
export async function isOpen(client: Client, workflowId: string): Promise<boolean> {
  try {
    const { status } = await client.workflow.getHandle(workflowId).describe();
    return status.name === 'RUNNING' || status.name === 'PAUSED';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}

/** How many workers poll a queue, for workflows or for activities. */
export async function pollers(client: Client, queue: string, of: 'workflow' | 'activity'): Promise<number> {
  const answer = await client.workflowService.describeTaskQueue({
    namespace: client.options.namespace,
    taskQueue: { name: queue },
    // TASK_QUEUE_TYPE_WORKFLOW, TASK_QUEUE_TYPE_ACTIVITY
    taskQueueType: of === 'workflow' ? 1 : 2,
  });
  return answer.pollers?.length ?? 0;
}
