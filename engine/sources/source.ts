import { z } from 'zod';
import type { Check, Content, ContentFormat, SourceFacts, SourceKind } from '../../policies/recovery-point.ts';
import type { ArtifactWriter, Base, PointReader, Progress } from '../artifact/index.ts';

/**
 * Something that is protected, and how it is put back. Every kind passes the conformance suite
 * (test/engine/sources/conformance.ts). Everything streams; memory does not grow with the data.
 */
export interface Source {
  readonly name: string;
  readonly kind: SourceKind;
  /** What its artifacts hold; of a point that is compared with a base: blocks. */
  readonly format: ContentFormat;

  /**
   * Looks without reading the data: reachable, permitted, tools present and new enough. Throws SourceUnreachable,
   * SourceAuthentication, SourceMissing, SourceUnreadable, ClientToolMissing, ServerTooNew, ServerTooOld.
   */
  probe(): Promise<SourceProbe>;

  /** Reads the source once, hands its content to the writer, and says what was captured. */
  seal(writer: ArtifactWriter, options: SealOptions): Promise<SealResult>;

  /** Puts a point back. Refuses a target that holds anything (TargetNotEmpty); on failure removes what it wrote. */
  restore(point: PointReader, options: RestoreOptions): Promise<RestoreResult>;

  /** Compares a restored place (as given to restore) with what the point holds. Reads both, changes neither. */
  compare(point: PointReader, place: string, signal: AbortSignal): Promise<SourceComparison>;

  /**
   * Restores into an isolated place of its own below `workDir` (a fresh PostgreSQL instance; a directory), compares
   * what came back with what was captured, and removes every trace, also on failure or abort. Returns the checks
   * `restore_test` and `content`.
   */
  testRestore(point: PointReader, options: TestRestoreOptions): Promise<Check[]>;
}

export interface SourceProbe {
  /** Rough bytes to read, for admission and progress; 0 when unknown. */
  estimatedBytes: number;
  facts: SourceFacts;
}

export interface SealOptions {
  /** Private to this call, on the staging disk; the caller removes it afterwards. */
  scratchDir: string;
  /** The point to compare with: only what has changed since is stored. Given to kinds that can (policies/chain.ts). */
  base?: Base;
  signal: AbortSignal;
  onProgress: (progress: Progress) => void;
}

export interface SealResult {
  content: Content;
  facts: SourceFacts;
  /** ISO-8601: the moment whose state a restore brings back. */
  capturedAt: string;
  /** What a person should know though the point is good: unstable files, skipped sockets … One line each, ≤ 100. */
  warnings: string[];
}

export interface RestoreOptions {
  /**
   * Names the restore over all its attempts: what one of the same name has left half-written is removed first, and what one
   * has finished is not done again. A folder stays marked until `keepRestored` or `discardRestored`.
   */
  job?: string;
  /** An attempt of the job before may have filled a database; one that is as it has to be is taken for its work. */
  isRetry?: boolean;
  /**
   * A directory path (files; postgres-physical, whose data directory it becomes), or a PostgreSQL connection URI of an
   * existing empty database (postgres-logical).
   */
  into: string;
  /** Globs; only entries that match (files only). */
  paths?: string[];
  /** Absent or empty folders for tablespaces, by where they lay; others go below `into` (postgres-physical only). */
  tablespaces?: Record<string, string>;
  signal: AbortSignal;
  onProgress: (progress: Progress) => void;
}

export const restoreResult = z.object({
  entries: z.number(),
  bytes: z.number(),
  warnings: z.array(z.string()),
  /** Where the recovery of a cluster to a moment ended. */
  recovered: z
    .object({
      /** The timeline that begins there. */
      timeline: z.number(),
      /** Position behind the last record that was applied. */
      lsn: z.string(),
      /** ISO-8601, the server's clock; null when no transaction was applied. */
      lastTransactionAt: z.string().nullable(),
    })
    .optional(),
});
export type RestoreResult = z.infer<typeof restoreResult>;

export interface SourceComparison {
  /** One line each, the first twenty; empty when all is as captured. */
  differences: string[];
  /** What was compared, in one line. */
  details: string;
}

export interface TestRestoreOptions {
  /** Private to this call; removed by the callee as far as it wrote there. */
  workDir: string;
  signal: AbortSignal;
  onProgress: (progress: Progress) => void;
}
