import type { AdmissionState } from '../policies/admission.ts';
import type { Due } from '../policies/calendar.ts';
import type { MeasuredRpo } from '../policies/canary.ts';
import type { Moment } from '../policies/moment.ts';
import type { BackupClass, Level } from '../policies/recovery-point.ts';
import type { RepairPart } from '../policies/repair.ts';
import type { Strain } from '../policies/strain.ts';
import type { RuleVerdict } from '../policies/three-two-one.ts';

/**
 * What workflows take, give and answer: the interface for `backupctl`, schedules and the `temporal` CLI. Plain JSON,
 * ids and references only; no secret, no bulk data.
 */

/** Workflow type `backup`, id `backup/SOURCE/…`, on queue `coordination`. */
export interface BackupInput {
  source: string;
  /** Default full. Sources that cannot do the level say so and do a full one. */
  level?: Level;
  /** Default ['manual']. */
  classes?: BackupClass[];
  /** Begin now, whatever the source's windows say. Default false. */
  anytime?: boolean;
}

export interface CopyOutcome {
  copy: string;
  state: 'verified' | 'failed';
  error: string | null;
}

export interface Phase {
  name: 'plan' | 'window' | 'slot' | 'seal' | 'validate' | 'upload' | 'record' | 'prune' | 'notify';
  durationMs: number;
}

export interface BackupResult {
  pointId: string;
  source: string;
  level: Level;
  /** `partial`: the point stands, but a copy failed or the 3-2-1 rule is breached. */
  outcome: 'succeeded' | 'partial';
  sourceBytes: number;
  storedBytes: number;
  checksPassed: number;
  copies: CopyOutcome[];
  rule: RuleVerdict;
  phases: Phase[];
  warnings: string[];
}

/** Workflow type `scheduledBackup`; started by the schedule `backup/SOURCE`. */
export interface ScheduledBackupInput {
  source: string;
  /** Make the backup that is due next, now: for people who trigger a schedule by hand. */
  ahead?: boolean;
}

export interface ScheduledBackupResult {
  source: string;
  /** What the backup stands for, oldest first; empty when nothing was due. */
  due: Due[];
  /** What was missed for longer than the calendar's catch-up window, and is let go. */
  lapsed: Due[];
  /** Null when nothing was due. */
  backup: BackupResult | null;
}

/** Workflow type `retention`; started each day by the schedule `retention`, or by a person with name and reason. */
export interface RetentionInput {
  /** Default: every source of the policy. */
  source?: string;
  operator?: string;
  reason?: string;
  /** What an earlier run knew. */
  state?: RetentionState;
  /** History events after which it goes on in a new run; for tests. */
  historyBudget?: number;
}

/** How far it is. */
export interface RetentionState {
  /** The sources still to do, the first of them under way; null before anybody was asked. */
  toDo: string[] | null;
  /** What became of the points of the first so far. */
  removed: string[];
  refused: { pointId: string; why: string }[];
  sources: SourceRetention[];
  /** What the first of the sources that failed did so of. */
  failure: { type: string | null; message: string; details: unknown[] } | null;
}

export interface RetentionResult {
  sources: SourceRetention[];
}

/** What became of the old points of one source. */
export interface SourceRetention {
  source: string;
  /** `stopped`: it has changed suddenly, and a person must decide. */
  outcome: 'done' | 'stopped';
  /** Why it is stopped. */
  stopped: string | null;
  stays: number;
  /** May go, once their grace is over. */
  waiting: number;
  /** The first of them; at most 100, and 2,000 of all sources. */
  removed: string[];
  moreRemoved: number;
  refused: { pointId: string; why: string }[];
  moreRefused: number;
  /** Of a cluster whose WAL may have gone. */
  wal?: WalExpired;
}

/** What became of WAL that nothing needs. */
export interface WalExpired {
  /** Objects, in all copies together. */
  removed: number;
  bytes: number;
  /** Why some of it stays. */
  refused: string | null;
}

/** What a job could not remove at its end, because the host or a store was away. Workflow `cleanup` removes it later. */
export interface Leftovers {
  /** On the host's staging disk. */
  staging: boolean;
  /** In these copies. */
  copies: string[];
}

/** Workflow type `cleanup`, id `cleanup/POINT`; started by a backup that had to leave something behind. */
export interface CleanupInput extends Leftovers {
  source: string;
  pointId: string;
  host: string;
}

/** Signal `sendingAhead` to a backup, from its own step: from now on something of the copy may lie in its store. */
export interface SendingAhead {
  copy: string;
}

/** Answer to query `status` of a backup workflow. */
export interface BackupStatus {
  source: string;
  pointId: string | null;
  phase: Phase['name'] | 'done' | 'failed';
  /** The line of mission row G1. */
  progressLine: string;
  phases: Phase[];
  /** Place in the queue while it waits for a slot, 1 is next. */
  queuePosition: number | null;
  /** Why it gets no slot even when one is free; null when it gets the next. */
  queueReason: string | null;
  /** When the source's hours begin again, ISO-8601, while they are over for this job: nothing is sent until then. */
  pausedUntil: string | null;
}

/** Workflow type `restore`, id `restore/SOURCE/…`. A person asks for it; nothing automatic does. */
export interface RestoreInput {
  source: string;
  /** Default: the newest point. */
  pointId?: string;
  /** The copy to read from; default: the first that has it, nearest first. */
  from?: string;
  /** A database's URI is without a password; that of a server under restoreTargets joins where the restore runs. */
  into: { directory: string } | { databaseUri: string };
  paths?: string[];
  /** Folders for tablespaces, by where they lay; the others go below the directory (postgres-physical only). */
  tablespaces?: Record<string, string>;
  /** A moment to come back to by the archived WAL, instead of that of a point (postgres-physical only). */
  to?: Moment;
  /** The timeline to follow; default: the newest that is archived. */
  timeline?: number;
  /** The machine whose recovery worker writes it; default `local`. */
  host?: string;
  operator: string;
  reason: string;
}

export interface RestoreResult {
  pointId: string;
  from: string;
  entries: number;
  bytes: number;
  durationMs: number;
  warnings: string[];
  /** Where recovery ended, when a moment was asked for; the time is that of the last transaction. */
  recovered?: { timeline: number; lsn: string; lastTransactionAt: string | null };
}

/**
 * Workflow type `repair`, id `repair/SOURCE/…`. Puts what is damaged or missing in some copy again from a good one: of a
 * point and what it is built upon, or of a source's WAL; and of the way out.
 */
export interface RepairInput {
  /** Either this … */
  pointId?: string;
  /** … or the source of the WAL. */
  walOf?: string;
  /** Mend this copy only, also where the point never was. Default: every copy that should hold it. */
  copy?: string;
}

/** What became of one part in one copy. */
export interface RepairOutcome {
  part: RepairPart;
  copy: string;
  /** `whole`: it was so; `damaged`: it still is; `unknown`: it could not be read. */
  state: 'whole' | 'repaired' | 'damaged' | 'unknown';
  /** Objects that were read. */
  objects: number;
  /** Objects that were put again, and the first hundred of their keys. */
  repaired: number;
  keys: string[];
  /** What is still wrong, and why it could not be mended, one line each; the first hundred. */
  problems: string[];
}

export interface RepairResult {
  source: string;
  /** One for each part and copy, in the order in which they were mended. */
  outcomes: RepairOutcome[];
}

export * from './contracts-rekey.ts';

export const coordinatorWorkflowId = 'coordinator';

/** Workflow type `coordinator`, id `coordinator`: one for the whole fleet. */
export interface CoordinatorInput extends CoordinatorSettings {
  /** What an earlier run knew. */
  state?: AdmissionState;
  /** History events after which it goes on in a new run; for tests. */
  historyBudget?: number;
}

/** Signal `configure` to the coordinator, when the policy has changed. */
export interface CoordinatorSettings {
  slots: number;
  leaseTimeoutMs: number;
}

/** Signal `requestSlot` to the coordinator. Repeating it changes nothing but that a holder is told again. */
export interface SlotRequest {
  workflowId: string;
  runId: string;
  source: string;
  critical: boolean;
  priority: number;
  /** How many slots the run has given back before; 0 when left out. */
  turn?: number;
}
/** Signal `releaseSlot`. Also takes a queued request back. Repeating it changes nothing. */
export interface SlotRelease {
  workflowId: string;
  runId: string;
}
/** Signal `slotGranted` from the coordinator to the job. */
export interface SlotGrant {
  runId: string;
  /** Of the request that it answers; 0 when left out. */
  turn?: number;
}
/**
 * Signal `queuePosition` from the coordinator to a waiting job: every change among the first five, halvings behind them.
 * Signal `askAgain`, without argument: the coordinator has forgotten whoever waits; the job asks anew.
 */
export interface QueuePosition {
  position: number;
  /** Why the job gets no slot for now even when one is free; left out when it gets the next. */
  why?: string;
}

/**
 * Argument of the coordinator's updates `pause`, `resume`, `drain`, `restrict` and `lift` (each refuses an empty operator
 * or reason). `restrict`: only critical sources get slots, until somebody lifts it. `lift`: everybody does again, whatever
 * is under strain now; refused when nothing is.
 *
 * Signal `strain` to the coordinator, with a StrainReport: something begins, or goes on, to be under strain; or no longer
 * is. Meanwhile only critical sources get slots.
 */
export interface OperatorAction {
  operator: string;
  reason: string;
}

/** Answer to the coordinator's query `status`, and to its updates. */
export interface CoordinatorStatus {
  /** `paused`: nobody new gets a slot. `draining`: likewise, and says when the last job is done. */
  mode: 'running' | 'paused' | 'draining' | 'drained';
  modeSetBy: OperatorAction | null;
  slots: number;
  holders: { workflowId: string; runId: string; source: string; grantedAt: string }[];
  queue: { workflowId: string; runId: string; source: string; critical: boolean; priority: number; since: string }[];
  /** Leases taken back from jobs that were gone, since the beginning. */
  leasesFreed: number;
  granted: number;
  /** Why only critical sources get slots; empty when everybody does. */
  strains: Strain[];
}

/**
 * Workflow type `walArchive`, id `wal/SOURCE`: archives the WAL of a cluster until it is cancelled, which also gives up
 * its replication slot. `backupctl policy apply` starts and ends it.
 */
export interface WalArchiveInput {
  source: string;
  /** After so many milliseconds it looks at all copies again. Default one hour. */
  roundMs?: number;
  /** What fails for so many milliseconds becomes an incident. Default one minute. */
  patienceMs?: number;
  /** History events after which it goes on in a new run; for tests. */
  historyBudget?: number;
  /** What an earlier run knew. */
  state?: WalArchiveState;
}

export interface WalArchiveState {
  /** `behind`: copies lack so much that WAL counts as safe once it is staged. */
  streaming: 'well' | 'behind' | 'failing';
  /** Why it fails. */
  error: string | null;
  /** Copies that WAL does not get to, and why. */
  copies: { copy: string; error: string }[];
}

/** Answer to query `status` of a walArchive workflow. */
export interface WalArchiveStatus extends WalArchiveState {
  source: string;
}

/** What the two activities of a walArchive workflow tell with their heartbeats, for whoever asks Temporal. */
export interface WalBeat {
  /** Of the streaming one: what has come, sealed or not, and up to which time of the server's clock. */
  received?: { timeline: number; lsn: string; until: string };
  /** What the server keeps for us, in bytes. */
  keptBytes?: number | null;
  /** Of the shipping one: what lies in all copies; `at` is when the last of it was uploaded. */
  shipped?: { timeline: number; lsn: string; until: string; at: string };
  /** The measured RPO; where no row could be written, why. */
  canary?: MeasuredRpo & { error: string | null };
}
