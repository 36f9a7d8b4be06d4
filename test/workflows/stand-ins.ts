import { setTimeout } from 'node:timers/promises';
import { ApplicationFailure, Context } from '@temporalio/activity';
import type { CoordinationActivities, JobEnd } from '../../activities/coordination.ts';
import type { ExpiryActivities } from '../../activities/expiry.ts';
import type { HostActivities } from '../../activities/host.ts';
import type { RecoveryActivities } from '../../activities/recovery.ts';
import type { RekeyActivities } from '../../activities/rekey.ts';
import type { RepairActivities } from '../../activities/repair.ts';
import type { RepairPlanActivities } from '../../activities/repair-plan.ts';
import type { RetentionActivities } from '../../activities/retention.ts';
import type { ScheduleActivities } from '../../activities/schedule.ts';
import type { SlotActivities } from '../../activities/slot.ts';
import type { StrainActivities } from '../../activities/strain.ts';
import type { TransferActivities } from '../../activities/transfer.ts';
import type { ValidationActivities } from '../../activities/validation.ts';
import type { WalHostActivities } from '../../activities/wal-host.ts';
import type { WalTransferActivities } from '../../activities/wal-transfer.ts';
import type { WalWatchActivities } from '../../activities/wal-watch.ts';
import type { WatchActivities } from '../../activities/watch-holders.ts';
import type { BackupPlan } from '../../policies/backup-plan.ts';
import type { FailureType } from '../../policies/failure.ts';
import { queues } from '../../policies/queues.ts';
import { type Check, checkNames } from '../../policies/recovery-point.ts';

type Activities = CoordinationActivities &
  RepairPlanActivities &
  RepairActivities &
  ScheduleActivities &
  ExpiryActivities &
  SlotActivities &
  StrainActivities &
  WatchActivities &
  HostActivities &
  ValidationActivities &
  TransferActivities &
  RetentionActivities &
  RecoveryActivities &
  WalHostActivities &
  WalTransferActivities &
  WalWatchActivities &
  RekeyActivities;
export type Step = keyof Activities;
type InputOf<S extends Step> = Parameters<Activities[S]>[0];
type OutputOf<S extends Step> = Awaited<ReturnType<Activities[S]>>;

/** Which step is done where: a step that is asked for on another queue is not known there. */
const places: Record<string, Step[]> = {
  [queues.coordination]: [
    ...(['planBackup', 'recordPoint', 'planPrune', 'recordPruned', 'announceJob', 'concludeJob'] as const),
    ...([
      'resolveLeftovers',
      'lookAtHours',
      'noteStrain',
      'requestSlot',
      'releaseSlot',
      'findJobs',
      'watchHolders',
      'decideBackup',
    ] as const),
    ...(['planRepair', 'recordRepair'] as const),
    ...(['expirySources', 'decideExpiry', 'recordExpired', 'concludeExpiry'] as const),
    ...(['planWal', 'noteWal', 'judgeWalGaps'] as const),
  ],
  [queues.backup('local')]: [
    ...(['sealPoint', 'signPoint', 'discardStaging'] as const),
    ...(['streamWal', 'guardWalSlot', 'dropWalSlot'] as const),
  ],
  [queues.validation('local')]: ['checkSealed', 'testRestore'],
  [queues.transfer('local')]: [
    ...(['sendArtifact', 'uploadCopy', 'verifyCopy', 'publishCopy', 'findDamage', 'putObjectsAgain'] as const),
    ...(['findArchived', 'shipWal'] as const),
  ],
  [queues.retention('local')]: [
    'withdrawCopy',
    'pruneCopy',
    'expirePoints',
    'expireWal',
    'removeDamaged',
    'removeKeys',
    'removeWalKeys',
  ],
  [queues.recovery('local')]: [
    'locatePoint',
    'restorePoint',
    'keepRestore',
    'discardRestore',
    'rekeyPoints',
    'rekeyWal',
  ],
};

/**
 * Stands in for everything that moves bytes: each step only says that it was done, and answers as the real one would
 * when all is well. A test gives those steps that matter to it another behaviour.
 */
export class StandIns {
  /** Every attempt of every step, in the order in which they began: its name, and the copy where it has one. */
  readonly done: string[] = [];
  readonly inputs: { step: Step; input: unknown }[] = [];
  private readonly behaviours = new Map<string, (input: never) => unknown>();

  /** @param key a step, or a step and a copy: `uploadCopy west` */
  on<S extends Step>(key: S | `${S} ${string}`, behaviour: (input: InputOf<S>) => OutputOf<S> | Promise<OutputOf<S>>) {
    this.behaviours.set(key, behaviour as (input: never) => unknown);
  }

  /** The activities of each queue, for one worker per queue. */
  workers(): { taskQueue: string; activities: Record<string, (input: unknown) => Promise<unknown>> }[] {
    return Object.entries(places).map(([taskQueue, steps]) => ({
      taskQueue,
      activities: Object.fromEntries(steps.map((step) => [step, (input: unknown) => this.run(step, input)])),
    }));
  }

  /** Forgets what was done and how steps were to behave. */
  clear(): void {
    this.done.length = 0;
    this.inputs.length = 0;
    this.behaviours.clear();
  }

  /** How often a step was tried. */
  attempts(key: string): number {
    return this.done.filter((d) => d === key).length;
  }

  /** What the job said of its end. */
  end(): JobEnd {
    const last = this.inputs.findLast((i) => i.step === 'concludeJob');
    if (!last) throw new Error('The job did not conclude.');
    return last.input as JobEnd;
  }

  private async run(step: Step, input: unknown): Promise<unknown> {
    const copy = (input as { copy?: string } | undefined)?.copy;
    const key = copy === undefined ? step : `${step} ${copy}`;
    this.done.push(key);
    this.inputs.push({ step, input });
    const behaviour = this.behaviours.get(key) ?? this.behaviours.get(step);
    return behaviour ? behaviour(input as never) : (usual[step] as (input: unknown) => unknown)(input);
  }
}

export const plan: BackupPlan = {
  pointId: 'shop-20260101t020000z-abc123',
  plannedAt: '2026-01-01T02:00:00Z',
  source: 'shop',
  kind: 'files',
  host: 'local',
  level: 'full',
  parent: null,
  classes: ['manual'],
  critical: false,
  priority: 50,
  copies: [
    { name: 'disk', deadlineMs: 3_600_000 },
    { name: 'east', deadlineMs: 3_600_000 },
    { name: 'west', deadlineMs: 3_600_000 },
  ],
  sizeHistory: [],
  contentHistory: [],
  validationTimeoutMs: 30 * 60_000,
  notes: [],
};

const passed = (check: (typeof checkNames)[number]): Check => ({ check, passed: true, details: 'fine', durationMs: 1 });

const rule = {
  satisfied: true,
  copies: 4,
  media: ['disk'],
  offsiteRegions: ['us-west-2'],
  encrypted: true,
  breaches: [],
};

/** How each step answers when all is well. */
const usual: { [S in Step]: (input: InputOf<S>) => OutputOf<S> | Promise<OutputOf<S>> } = {
  decideBackup: () => ({ backup: null, due: [], lapsed: [] }),
  planBackup: () => plan,
  lookAtHours: () => ({ isOpen: true, until: null }),
  requestSlot: grantSlot,
  releaseSlot: () => {},
  noteStrain: () => {},
  findJobs: () => ({ holders: [], waiting: [] }),
  watchHolders: untilCancelled(() => {}),
  sealPoint: ({ level }) => ({ level, sourceBytes: 3_000_000, storedBytes: 1_000_000, entries: 7, warnings: [] }),
  checkSealed: () => checkNames.slice(0, 3).map(passed),
  testRestore: () => checkNames.slice(3).map(passed),
  signPoint: () => {},
  sendArtifact: () => null,
  uploadCopy: () => {},
  verifyCopy: () => {},
  publishCopy: () => ({ publishedAt: '2026-01-01T02:10:00Z' }),
  withdrawCopy: () => ({ published: false }),
  recordPoint: ({ copies }) => {
    const failed = copies.filter((c) => c.state === 'failed').length;
    return { rule: failed === 0 ? rule : { ...rule, satisfied: false, breaches: [`${failed} copies failed`] } };
  },
  planRepair: ({ copy }) => {
    const { source, pointId, host } = plan;
    const copies = plan.copies.filter((c) => copy === undefined || c.name === copy);
    return { source, what: pointId, host, parts: [{ part: { kind: 'point', source, pointId }, copies }] };
  },
  findDamage: () => ({ objects: 4, damages: [], next: null }),
  removeDamaged: () => [],
  putObjectsAgain: () => [],
  recordRepair: () => {},
  planPrune: () => [],
  pruneCopy: () => {},
  recordPruned: () => {},
  expirySources: ({ source }) => [source ?? 'shop'],
  decideExpiry: ({ source }) => ({
    source,
    host: 'local',
    stopped: null,
    stays: 7,
    waiting: 0,
    remove: [],
    more: false,
  }),
  expirePoints: ({ pointIds }) =>
    pointIds.map((pointId) => ({ pointId, gone: ['disk', 'east', 'west'], refused: null })),
  expireWal: () => ({ removed: 3, bytes: 3_000_000, refused: null }),
  recordExpired: () => {},
  rekeyPoints: () => ({
    points: 0,
    added: 0,
    present: 0,
    unproven: 0,
    former: [],
    problems: [],
    moreProblems: 0,
    after: null,
  }),
  rekeyWal: () => ({
    objects: 0,
    added: 0,
    present: 0,
    unproven: 0,
    inLine: 0,
    former: [],
    problems: [],
    moreProblems: 0,
    after: null,
  }),
  removeWalKeys: ({ former }) =>
    former.flatMap(({ key, copies }) => copies.map((copy) => ({ key, copy, removed: ['key.2.age'], kept: [] }))),
  removeKeys: ({ former }) => former.map(({ pointId, copy }) => ({ pointId, copy, removed: ['key.1.age'], kept: [] })),
  concludeExpiry: () => {},
  discardStaging: () => {},
  announceJob: () => [],
  concludeJob: () => {},
  resolveLeftovers: () => {},
  planWal: () => ({ host: 'local' }),
  noteWal: () => {},
  judgeWalGaps: () => ({ about: 'gap', problem: null }),
  findArchived: () => ({ archived: null, gaps: [] }),
  streamWal: untilCancelled(() => {}),
  shipWal: untilCancelled(() => {}),
  guardWalSlot: () => ({ keptBytes: 0, dropped: false }),
  dropWalSlot: () => {},
  locatePoint: ({ pointId }) => ({ pointId: pointId ?? plan.pointId, from: 'west' }),
  restorePoint: ({ pointId, from }) => ({ pointId, from, entries: 7, bytes: 3_000_000, warnings: [] }),
  keepRestore: () => {},
  discardRestore: () => {},
};

/** The run that asks for a slot. */
export function callingRun(): { workflowId: string; runId: string } {
  const { workflowExecution } = Context.current().info;
  if (!workflowExecution) throw new Error('Only workflows have slots.');
  const { workflowId, runId } = workflowExecution;
  return { workflowId, runId };
}

/** Grants the calling job its slot, as the coordinator does. */
export async function grantSlot({ turn }: InputOf<'requestSlot'>): Promise<{ runId: string }> {
  const { workflowId, runId } = callingRun();
  const grant = turn === undefined ? { runId } : { runId, turn };
  await Context.current().client.workflow.getHandle(workflowId, runId).signal('slotGranted', grant);
  return { runId };
}

/** What `sendArtifact` tells its job before the first byte goes. */
export async function tellSending(copy: string): Promise<void> {
  const { workflowId, runId } = callingRun();
  await Context.current().client.workflow.getHandle(workflowId, runId).signal('sendingAhead', { copy });
}

/** A step that is under way until it is cancelled; it then tidies up and ends as cancelled. `begun` is told first. */
export function untilCancelled(begun: () => unknown): () => Promise<never> {
  return async () => {
    const { heartbeat, cancelled } = Context.current();
    const beat = setInterval(() => heartbeat(), 50);
    try {
      await begun();
      return await cancelled;
    } finally {
      clearInterval(beat);
    }
  };
}

/**
 * Until no more than so many copies are being sent. The test server does not take it well when a step is cancelled whose
 * end it has just been told of: what fails on purpose fails after this.
 */
export async function untilSent({ but = 0 } = {}): Promise<void> {
  const { workflowId, runId } = callingRun();
  const handle = Context.current().client.workflow.getHandle(workflowId, runId);
  const sending = async () => {
    const { pendingActivities } = (await handle.describe()).raw;
    return pendingActivities?.filter((a) => a.activityType?.name === 'sendArtifact').length ?? 0;
  };
  while ((await sending()) > but) await setTimeout(20);
}

/** A failure of ours, as activities throw it. */
export function failure(type: FailureType, message: string, retryable: boolean): ApplicationFailure {
  return ApplicationFailure.create({ type, message, nonRetryable: !retryable, details: [{ next: 'Mend it.' }] });
}
