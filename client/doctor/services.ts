import type { Client } from '@temporalio/client';
import { Failure } from '../../policies/failure.ts';
import type { Policy } from '../../policies/policy.ts';
import { queues, type Role } from '../../policies/queues.ts';
import { registerCommand, searchAttributeNames, unknownAttributes } from '../../policies/search-attributes.ts';
import { coordinatorWorkflowId } from '../../workflows/contracts.ts';
import type { Context } from '../context.ts';
import { examine, type Finding } from './check.ts';

/** Temporal, a worker on each queue that a job of this policy needs, the coordinator, the catalog. */
export async function examineServices(context: Context, policy: Policy): Promise<Finding[]> {
  const { address, namespace } = policy.temporal;
  const temporal = await examine('Temporal', async () => {
    const client = await context.temporal();
    await client.workflowService.describeNamespace({ namespace });
    return `answers at ${address}, namespace ${namespace}`;
  });
  const catalog = examine('catalog', async () => {
    const points = await (await context.catalog()).points({ limit: 1 });
    return points[0]
      ? `answers; its newest recovery point is ${points[0].backup.id}`
      : 'answers; it has no recovery point yet';
  });
  if (!temporal.ok) return [temporal, await catalog];
  const client = await context.temporal();
  const hosts = [...new Set(policy.sources.map((s) => s.host))];
  const needed: { role: Role; queue: string; host: string | null }[] = [
    { role: 'coordination', queue: queues.coordination, host: null },
    ...hosts.flatMap((host) =>
      (['backup', 'validation', 'transfer', 'retention', 'recovery'] as const).map((role) => ({
        role,
        queue: queues[role](host),
        host,
      })),
    ),
  ];
  const workers = needed.map((n) => examine(`worker on ${n.queue}`, () => examineQueue(client, n)));
  const coordinator = examine('coordinator', async () => {
    const status = await statusOf(client);
    if (status === null) return 'does not run yet; the first job starts it';
    if (status === 'RUNNING') return 'runs';
    throw missing(`is ${status}`, 'Run a backup: it starts the coordinator again.');
  });
  const attributes = examine('search attributes', () => examineSearchAttributes(client, namespace));
  return [temporal, ...(await Promise.all([attributes, ...workers, coordinator, catalog]))];
}

async function examineSearchAttributes(client: Client, namespace: string): Promise<string> {
  const missing = await unknownAttributes((query) =>
    client.workflowService.countWorkflowExecutions({ namespace, query }),
  );
  if (missing.length === 0) return `Temporal knows ${searchAttributeNames.join(', ')}`;
  throw new Failure('TemporalUnreachable', `Temporal does not know ${missing.join(', ')}: no job can run.`, {
    next: `A coordination worker registers them when it starts, or: ${registerCommand(missing, namespace)}`,
  });
}

async function statusOf(client: Client): Promise<string | null> {
  try {
    return (await client.workflow.getHandle(coordinatorWorkflowId).describe()).status.name;
  } catch (error) {
    // Without loading the client for its class.
    if ((error as Error).name === 'WorkflowNotFoundError') return null;
    throw error;
  }
}

async function examineQueue(
  client: Client,
  { role, queue, host }: { role: Role; queue: string; host: string | null },
): Promise<string> {
  const { pollers } = await import('../temporal.ts');
  const [activities, workflows] = await Promise.all([
    pollers(client, queue, 'activity'),
    role === 'coordination' ? pollers(client, queue, 'workflow') : 1,
  ]);
  if (activities > 0 && workflows > 0) return activities === 1 ? 'one polls' : `${activities} poll`;
  throw missing(
    'none polls',
    `Start one: node workers/main.ts --role ${role} --policy FILE${host ? ` --host ${host}` : ''}`,
  );
}

function missing(what: string, next: string): Failure {
  return new Failure('TemporalUnreachable', what, { next });
}
