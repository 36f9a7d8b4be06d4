import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import {
  type Client,
  isGrpcServiceError,
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
} from '@temporalio/client';
import { queues, type Role } from '../../../policies/queues.ts';
import type { BackupResult, RestoreResult, RetentionResult } from '../../../workflows/contracts.ts';
import type { Source, World } from './world.ts';

/** The phases of a job, by the activities that do the work, and the role that runs each. */
const activities: Record<string, [phase: Phase, role: Role]> = {
  planBackup: ['plan and record', 'coordination'],
  requestSlot: ['plan and record', 'coordination'],
  releaseSlot: ['plan and record', 'coordination'],
  recordPoint: ['plan and record', 'coordination'],
  planPrune: ['plan and record', 'coordination'],
  recordPruned: ['plan and record', 'coordination'],
  announceJob: ['plan and record', 'coordination'],
  concludeJob: ['plan and record', 'coordination'],
  expirySources: ['plan and record', 'coordination'],
  decideExpiry: ['plan and record', 'coordination'],
  concludeExpiry: ['plan and record', 'coordination'],
  discardStaging: ['plan and record', 'backup'],
  sealPoint: ['seal', 'backup'],
  signPoint: ['publish', 'backup'],
  checkSealed: ['validate', 'validation'],
  testRestore: ['validate', 'validation'],
  sendArtifact: ['send', 'transfer'],
  uploadCopy: ['upload', 'transfer'],
  verifyCopy: ['read back', 'transfer'],
  publishCopy: ['publish', 'transfer'],
  withdrawCopy: ['withdraw', 'retention'],
  pruneCopy: ['prune', 'retention'],
  locatePoint: ['restore', 'recovery'],
  restorePoint: ['restore', 'recovery'],
  keepRestore: ['restore', 'recovery'],
  discardRestore: ['restore', 'recovery'],
  expirePoints: ['expire', 'retention'],
  recordExpired: ['expire', 'coordination'],
};

export type Phase =
  | 'plan and record'
  | 'seal'
  | 'send'
  | 'validate'
  | 'upload'
  | 'read back'
  | 'publish'
  | 'withdraw'
  | 'prune'
  | 'restore'
  | 'expire';

export type Kind = 'backup' | 'restore' | 'retention';

/** How a job ended: with its result, or loudly. */
export type Ending<T = BackupResult | RestoreResult | RetentionResult> = { result: T } | { failure: string };

export interface Job {
  kind: Kind;
  workflowId: string;
  source: Source;
  /** Where a restore goes to. */
  into: string;
  ending: Ending | null;
  ended: Promise<Ending>;
}

/** An attempt of an activity that is under way as far as Temporal knows. */
export interface Attempt {
  key: string;
  phase: Phase;
  role: Role;
}

/** Starts a job, however often the server is away meanwhile. */
export async function startJob(world: World, kind: Kind, source: Source): Promise<Job> {
  const { client, dataDir } = world.whole;
  const id = `${source}-${randomBytes(6).toString('hex')}`;
  const workflowId = `${kind}/${id}`;
  const into = path.join(dataDir, 'restored', id);
  const person = { operator: 'storm', reason: 'kills' };
  const args = {
    backup: [{ source }],
    restore: [{ source, into: { directory: into }, ...person }],
    retention: [person],
  }[kind];
  await persist(async () => {
    try {
      await client.workflow.start(kind, { workflowId, taskQueue: queues.coordination, args });
    } catch (error) {
      // The answer to an earlier try was lost.
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    }
  });
  const job: Job = { kind, workflowId, source, into, ending: null, ended: endingOf(client, workflowId) };
  void job.ended.then(
    (ending) => {
      job.ending = ending;
    },
    () => {},
  );
  return job;
}

function endingOf(client: Client, workflowId: string): Promise<Ending> {
  return persist(async () => {
    try {
      return { result: await client.workflow.getHandle(workflowId).result() };
    } catch (error) {
      if (!(error instanceof WorkflowFailedError)) throw error;
      return { failure: rootOf(error).message };
    }
  });
}

function rootOf(error: Error): Error {
  return error.cause instanceof Error ? rootOf(error.cause) : error;
}

/** Of a pending activity of Temporal: it is not waiting to be tried again. */
const isStarted = 2;

/** What a job is doing at this moment; nothing while the server is away. */
export async function attemptsOf({ whole: { client } }: World, { workflowId, source }: Job): Promise<Attempt[]> {
  try {
    const { raw } = await client.workflow.getHandle(workflowId).describe();
    return (raw.pendingActivities ?? []).flatMap((pending): Attempt[] => {
      const known = activities[pending.activityType?.name ?? ''];
      if (!known || pending.state !== isStarted) return [];
      // Of the others, which are small, nothing is sent ahead: it only waits until they are sealed.
      if (known[0] === 'send' && source !== 'films') return [];
      return [{ key: `${workflowId} ${pending.activityId} ${pending.attempt}`, phase: known[0], role: known[1] }];
    });
  } catch (error) {
    if (isAway(error)) return [];
    throw error;
  }
}

/** Asks until the server is there. */
export async function persist<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isAway(error)) throw error;
    }
    await setTimeout(200);
  }
}

/** Told by gRPC when a server is killed or starts: CANCELLED, DEADLINE_EXCEEDED, NOT_FOUND (its namespace), UNAVAILABLE … */
function isAway(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (isGrpcServiceError(at)) return [1, 2, 4, 8, 13, 14].includes(at.code);
  }
  return false;
}
