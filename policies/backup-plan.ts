import type { PlannedLock } from './lock.ts';
import type { BackupClass, Level, SourceKind } from './recovery-point.ts';

/** What a backup job will do, decided before it starts. Ids and references only: it travels through the history. */
export interface BackupPlan {
  pointId: string;
  source: string;
  kind: SourceKind;
  host: string;
  level: Level;
  parent: string | null;
  classes: BackupClass[];
  critical: boolean;
  priority: number;
  copies: PlannedCopy[];
  /** Stored sizes of the source's last points, newest first, at most 30: what the size check compares with. */
  sizeHistory: number[];
  validationTimeoutMs: number;
  /** Outside of the source's windows: when they open, ISO-8601. The job waits, and plans again. Absent: it may begin. */
  waitUntil?: string;
  /** Why the level is not what was asked for, and other things a person should know. */
  notes: string[];
}

export interface PlannedCopy {
  name: string;
  deadlineMs: number;
  /** Absent: its objects are not locked. */
  lock?: PlannedLock;
}
