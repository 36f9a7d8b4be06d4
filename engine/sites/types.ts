/** How a private PostgreSQL server is made. Used for isolated test restores, the embedded stack, and tests. */
export interface PostgresInstanceOptions {
  /** Absolute; created by initdb when it is absent or empty. Owned by the unprivileged user when we are root. */
  dataDir: string;
  /** Folder with initdb, pg_ctl, postgres. Absent: found (PG_BIN_DIRS, PATH, /usr/lib/postgresql/*, newest first). */
  binDir?: string;
  /** Taken when free, another one otherwise; absent: any free one. */
  port?: number;
  /** postgresql.conf settings. */
  settings?: Record<string, string>;
  /** Superuser's password (scram). Absent: trust on 127.0.0.1 for this instance only. */
  password?: string;
  /** Who connects; absent: `postgres`, the superuser of clusters that are made here. */
  user?: string;
  /** Asked for whether it is up; absent: `postgres`. */
  database?: string;
}

export interface PostgresInstance {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly user: string;
  readonly dataDir: string;
  readonly binDir: string;
  readonly pid: number;
  /** Resolves when it has ended, for whatever reason, with words that say how. */
  readonly ended: Promise<string>;
  /** postgresql:// URI of a database, `postgres` when absent. */
  uri(database?: string): string;
  /** pg_ctl stop -m fast, then immediate, then SIGKILL by pid. Idempotent. */
  stop(): Promise<void>;
  /** stop(), then removes dataDir. Idempotent. */
  destroy(): Promise<void>;
}
