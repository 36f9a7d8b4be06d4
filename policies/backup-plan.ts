import type { Parent } from './chain.ts';
import type { PlannedLock } from './lock.ts';
import type { BackupClass, Level, SourceKind } from './recovery-point.ts';

/** What a backup job will do, decided before it starts. Ids and references only: it travels through the history. */
export interface BackupPlan {
  pointId: string;
  /** ISO-8601: when the job decided this. Objects carry it as `backup-date`. */
  plannedAt: string;
  source: string;
  kind: SourceKind;
  host: string;
  level: Level;
  /** What it is compared with; null for a full one. The host makes a full one, too, when it has kept nothing of it. */
  parent: Parent | null;
  classes: BackupClass[];
  critical: boolean;
  priority: number;
  copies: PlannedCopy[];
  /** Stored sizes of the source's last full points, newest first, at most 30: what the size check compares with. */
  sizeHistory: number[];
  /** Bytes that its last points of any level bring back, likewise: what other levels are compared with. */
  contentHistory: number[];
  validationTimeoutMs: number;
  /** Outside of the source's windows: when they open, ISO-8601. The job waits, and plans again. Absent: it may begin. */
  waitUntil?: string;
  /**
   * When the source's windows close, ISO-8601: nothing is begun or sent from then on, until they open again. Absent: they
   * never do, or a person wants it whatever they say.
   */
  closesAt?: string;
  /** Why the level is not what was asked for, and other things a person should know. */
  notes: string[];
}

export interface PlannedCopy {
  name: string;
  deadlineMs: number;
  /** Absent: its objects are not locked. */
  lock?: PlannedLock;
}
