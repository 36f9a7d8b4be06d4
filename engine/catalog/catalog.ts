import type { HoldNote } from '../../policies/hold.ts';
import type { BackupJson } from '../../policies/recovery-point.ts';
import type { RetentionRecords } from './retention-records.ts';

/** The index of recovery points in PostgreSQL. The stores are the truth: rebuild() makes it again from any of them. */
export interface Catalog {
  /** Brings the schema up to date. Safe to call by many processes at once. */
  migrate(): Promise<void>;

  /** Records a published point. Idempotent by id; another document under the same id throws CatalogDiffers. */
  recordPoint(backup: BackupJson): Promise<void>;
  /** Says what became of one copy. Idempotent. */
  recordCopy(copy: CopyRecord): Promise<void>;
  /**
   * Makes the row say this, whatever it said before, with these copies and no others; notes on holds are added to those
   * it has. For rebuilding: all or nothing.
   */
  replacePoint(backup: BackupJson, copies: CopyRecord[], holds: HoldNote[]): Promise<void>;
  /** Notes that a legal hold was set or lifted, and in which copies the store now enforces it. Idempotent. */
  recordHold(note: HoldNote, enforcedIn: string[]): Promise<void>;
  /** Removes one copy's row, and the point with its last verified copy. Idempotent. */
  forgetCopy(pointId: string, copy: string): Promise<void>;

  points(filter?: { source?: string; limit?: number }): Promise<PointRecord[]>;
  point(id: string): Promise<PointRecord | null>;

  /** Incidents: what a person must know of. Not derivable from the stores, so rebuild leaves them alone. */
  openIncident(incident: IncidentInput): Promise<string>;
  resolveIncident(id: string): Promise<void>;
  incidents(filter?: { open?: boolean; limit?: number }): Promise<IncidentRecord[]>;

  /** Time each phase of a job took, for `show`, averages and reports. Not derivable; rebuild leaves it alone. */
  recordJob(job: JobRecord): Promise<void>;
  jobs(filter?: { source?: string; pointId?: string; limit?: number }): Promise<JobRecord[]>;

  readonly retention: RetentionRecords;

  close(): Promise<void>;
}

export const copyStates = ['verified', 'failed', 'pruned'] as const;
export type CopyState = (typeof copyStates)[number];

export interface CopyRecord {
  pointId: string;
  /** The copy's name in the policy. */
  copy: string;
  state: CopyState;
  bytes: number;
  /** The store's clock when backup.json was published there; null if it never was. ISO-8601. */
  publishedAt: string | null;
  /** When its bytes were last read back and matched. ISO-8601. */
  verifiedAt: string | null;
  /** Object Lock on its backup.json, by which nothing of it goes before; null where there is none. ISO-8601. */
  lockedUntil: string | null;
  /** The store itself lets nobody remove it: a legal hold is on it. */
  held: boolean;
  /** One line, when failed. */
  error: string | null;
}

export interface PointRecord {
  backup: BackupJson;
  /** Sum of sealed objects. */
  storedBytes: number;
  copies: CopyRecord[];
  /** Who set and lifted legal holds, and why; the oldest first. */
  holds: HoldNote[];
}

export interface IncidentInput {
  /** Same key while open = same incident: it is updated, not doubled. E.g. `backup-failed/pg-main`. */
  key: string;
  severity: 'critical' | 'warning';
  source: string | null;
  pointId: string | null;
  summary: string;
  next: string;
}
export interface IncidentRecord extends IncidentInput {
  id: string;
  openedAt: string;
  lastSeenAt: string;
  resolvedAt: string | null;
  occurrences: number;
}

export interface JobRecord {
  workflowId: string;
  runId: string;
  source: string;
  /** null when it failed before a point was planned. */
  pointId: string | null;
  outcome: 'succeeded' | 'partial' | 'failed' | 'cancelled';
  startedAt: string;
  finishedAt: string;
  /** Milliseconds per phase, in order: plan, slot, seal, validate, upload, publish … */
  phases: { name: string; durationMs: number }[];
  error: string | null;
}
