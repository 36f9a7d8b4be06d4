/** A component this process started, and ends by its pid. */
export interface RunningService {
  readonly pid: number;
  /** Resolves when it has ended, for whatever reason, with words that say how. */
  readonly ended: Promise<string>;
  /** Ends it gracefully, then by force; resolves when it is gone. Idempotent. */
  stop(): Promise<void>;
}

export interface S3Options {
  /** Absolute; buckets are folders below it. */
  dir: string;
  /** The region it plays, e.g. us-east-1. */
  region: string;
  /** Taken when free, another one otherwise; 0 or absent: any. */
  port?: number;
  /** The web console's port, likewise. */
  consolePort?: number;
  /** Absolute; the server's access log, one line per request, for tests that count what was sent. */
  accessLog?: string;
  accessKeyId?: string;
  secretAccessKey?: string;
}

export interface RunningS3 extends RunningService {
  endpoint: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  /** The server's web console, null where it has none. */
  consoleUrl: string | null;
}

export interface TemporalOptions {
  /** Absolute; history survives a restart. Absent: in memory. */
  dbFile?: string;
  port?: number;
  uiPort?: number;
}

export interface RunningTemporal extends RunningService {
  /** host:port */
  address: string;
  namespace: string;
  uiUrl: string;
}

// scripts/stack/s3.ts:        startS3(options: S3Options): Promise<RunningS3>
// scripts/stack/temporal.ts:  startTemporal(options: TemporalOptions): Promise<RunningTemporal>
// engine/sites/postgres-instance.ts: createPostgresInstance(options): Promise<PostgresInstance>
