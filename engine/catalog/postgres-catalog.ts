import { runner } from 'node-pg-migrate';
import pg from 'pg';
import { Failure } from '../../policies/failure.ts';
import type { HoldNote } from '../../policies/hold.ts';
import { backupJson, storedBytes } from '../../policies/recovery-point.ts';
import type { Catalog, CopyRecord, IncidentRecord, JobRecord, PointRecord } from './catalog.ts';
import { asFailure, assertUri } from './failures.ts';
import { createRetentionRecords } from './retention-records.ts';
import { sameDocument } from './same-document.ts';

const schema = 'backup_coordinator';
const migrationsDir = new URL('./migrations', import.meta.url).pathname;

export interface CatalogOptions {
  /** postgresql:// URI; a secret. */
  dsn: string;
  /** Told when a connection breaks while nothing uses it; it is replaced by itself. */
  onError?: (error: Error) => void;
  /** What the server does not answer in so long is given up, there too. Default one minute. */
  silentMaxMs?: number;
}

/**
 * Opens the catalog. Nothing is asked of the server yet. Throws PolicyInvalid when the DSN is no postgresql:// URI; the
 * methods throw CatalogUnreachable, and CatalogDiffers when its schema is not the one of this version.
 */
export async function openCatalog({ dsn, onError, silentMaxMs = 60_000 }: CatalogOptions): Promise<Catalog> {
  assertUri(dsn);
  const settings = {
    search_path: schema,
    // Nobody waits for it any more, and what it locks is in the way of the next attempt.
    statement_timeout: silentMaxMs,
    idle_in_transaction_session_timeout: silentMaxMs,
  };
  const pool = new pg.Pool({
    connectionString: dsn,
    max: 4,
    connectionTimeoutMillis: Math.min(10_000, silentMaxMs),
    idleTimeoutMillis: 10_000,
    query_timeout: silentMaxMs,
    keepAlive: true,
    options: Object.entries(settings)
      .map(([name, value]) => `-c ${name}=${value}`)
      .join(' '),
    application_name: 'backup-coordinator',
    allowExitOnIdle: true,
  });
  pool.on('error', (error) => onError?.(error));

  async function query<R extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<R[]> {
    try {
      return (await pool.query<R>(text, values)).rows;
    } catch (error) {
      throw asFailure(error, dsn);
    }
  }

  /** All of the statements, or none. */
  async function transaction(
    body: (run: (text: string, values: unknown[]) => Promise<unknown>) => Promise<void>,
  ): Promise<void> {
    let broken: Error | undefined;
    try {
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        await body((text, values) => client.query(text, values));
        await client.query('COMMIT');
      } catch (error) {
        // A connection in an unknown state is not given back to the pool; the server then undoes what it began.
        broken = error as Error;
        throw error;
      } finally {
        client.release(broken);
      }
    } catch (error) {
      throw asFailure(error, dsn);
    }
  }

  const catalog: Catalog = {
    async migrate() {
      // The pool's time limit for connecting applies here; the migrations' own connection has none.
      await query('SELECT 1');
      try {
        await runner({
          databaseUrl: dsn,
          dir: migrationsDir,
          direction: 'up',
          migrationsTable: 'migrations',
          schema,
          createSchema: true,
          log: () => {},
          // Several workers begin at once; each waits for its turn, and finds the work done.
          advisoryLockMode: 'wait',
        });
      } catch (error) {
        throw asFailure(error, dsn);
      }
    },

    async recordPoint(backup) {
      const text = JSON.stringify(backup);
      const rows = await query<{ backup: string }>(
        `INSERT INTO points (id, source, captured_at, backup) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING backup`,
        [backup.id, backup.source.name, backup.capturedAt, text],
      );
      if (rows[0] && (rows[0].backup === text || sameDocument(JSON.parse(rows[0].backup), backup))) return;
      throw new Failure('CatalogDiffers', `The catalog has another description of ${backup.id} than the store.`, {
        next: 'Run "backupctl catalog verify"; the stores are the truth, and "backupctl catalog rebuild" follows them.',
      });
    },

    async recordCopy(c) {
      await query(upsertCopy, copyValues(c));
    },

    async replacePoint(backup, copies, holds) {
      const values = [backup.id, backup.source.name, backup.capturedAt, JSON.stringify(backup)];
      await transaction(async (run) => {
        await run(
          `INSERT INTO points (id, source, captured_at, backup) VALUES ($1, $2, $3, $4)
           ON CONFLICT (id) DO UPDATE SET source = $2, captured_at = $3, backup = $4`,
          values,
        );
        await run('DELETE FROM copies WHERE point_id = $1 AND NOT copy = ANY ($2)', [
          backup.id,
          copies.map((c) => c.copy),
        ]);
        for (const copy of copies) await run(upsertCopy, copyValues(copy));
        for (const note of holds) await run(insertHold, holdValues(note));
      });
    },

    async recordHold(note, enforcedIn) {
      await transaction(async (run) => {
        await run(insertHold, holdValues(note));
        await run('UPDATE copies SET held = $2 WHERE point_id = $1 AND copy = ANY ($3)', [
          note.point,
          note.action === 'add',
          enforcedIn,
        ]);
      });
    },

    async forgetCopy(pointId, copy) {
      await transaction(async (run) => {
        await run('DELETE FROM copies WHERE point_id = $1 AND copy = $2', [pointId, copy]);
        // An attempt that failed is no copy: a point that lies nowhere is none.
        await run(
          `DELETE FROM points p WHERE id = $1
           AND NOT EXISTS (SELECT FROM copies c WHERE c.point_id = p.id AND c.state = 'verified')`,
          [pointId],
        );
      });
    },

    async points(filter = {}) {
      const rows = await query<PointRow>(
        `${selectPoint} WHERE ($1::text IS NULL OR source = $1) ORDER BY captured_at DESC, id LIMIT $2`,
        [filter.source ?? null, filter.limit ?? null],
      );
      return rows.map(pointOf);
    },

    async point(id) {
      const rows = await query<PointRow>(`${selectPoint} WHERE id = $1`, [id]);
      return rows[0] ? pointOf(rows[0]) : null;
    },

    async openIncident(i) {
      const rows = await query<{ id: string }>(
        `INSERT INTO incidents (key, severity, source, point_id, summary, next) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (key) WHERE resolved_at IS NULL
         DO UPDATE SET last_seen_at = now(), occurrences = incidents.occurrences + 1, severity = $2, point_id = $4, summary = $5, next = $6
         RETURNING id::text`,
        [i.key, i.severity, i.source, i.pointId, i.summary, i.next],
      );
      return rows[0]?.id ?? '';
    },

    async resolveIncident(id) {
      await query('UPDATE incidents SET resolved_at = now() WHERE id = $1 AND resolved_at IS NULL', [id]);
    },

    async incidents(filter = {}) {
      const rows = await query<IncidentRow>(
        `SELECT * FROM incidents WHERE ($1::boolean IS NULL OR (resolved_at IS NULL) = $1) ORDER BY last_seen_at DESC, id DESC LIMIT $2`,
        [filter.open ?? null, filter.limit ?? null],
      );
      return rows.map(incidentOf);
    },

    async recordJob(j) {
      await query(
        `INSERT INTO jobs (workflow_id, run_id, source, point_id, outcome, started_at, finished_at, phases, error)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (workflow_id, run_id) DO UPDATE SET point_id = $4, outcome = $5, finished_at = $7, phases = $8, error = $9`,
        [
          j.workflowId,
          j.runId,
          j.source,
          j.pointId,
          j.outcome,
          j.startedAt,
          j.finishedAt,
          JSON.stringify(j.phases),
          j.error,
        ],
      );
    },

    async jobs(filter = {}) {
      const rows = await query<JobRow>(
        `SELECT * FROM jobs WHERE ($1::text IS NULL OR source = $1) AND ($2::text IS NULL OR point_id = $2)
         ORDER BY started_at DESC LIMIT $3`,
        [filter.source ?? null, filter.pointId ?? null, filter.limit ?? null],
      );
      return rows.map(jobOf);
    },

    retention: createRetentionRecords(query),

    close: () => pool.end(),
  };
  return catalog;
}

const selectPoint = `SELECT backup,
    (SELECT jsonb_agg(c ORDER BY c.copy) FROM copies c WHERE c.point_id = p.id) AS copies,
    (SELECT jsonb_agg(h.note ORDER BY h.at, h.action) FROM holds h WHERE h.point_id = p.id) AS holds
  FROM points p`;

const upsertCopy = `INSERT INTO copies (point_id, copy, state, bytes, published_at, verified_at, locked_until, held, error)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
  ON CONFLICT (point_id, copy) DO UPDATE
  SET state = $3, bytes = $4, published_at = $5, verified_at = $6, locked_until = $7, held = $8, error = $9`;

const insertHold = `INSERT INTO holds (point_id, at, action, note) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`;

function holdValues(note: HoldNote): unknown[] {
  return [note.point, note.at, note.action, JSON.stringify(note)];
}

function copyValues(c: CopyRecord): unknown[] {
  return [c.pointId, c.copy, c.state, c.bytes, c.publishedAt, c.verifiedAt, c.lockedUntil, c.held, c.error];
}

interface CopyRow {
  point_id: string;
  copy: string;
  state: CopyRecord['state'];
  bytes: number;
  published_at: string | null;
  verified_at: string | null;
  locked_until: string | null;
  held: boolean;
  error: string | null;
}

interface PointRow {
  backup: string;
  copies: CopyRow[] | null;
  holds: HoldNote[] | null;
}

function pointOf(row: PointRow): PointRecord {
  const parsed = backupJson.safeParse(JSON.parse(row.backup));
  if (!parsed.success) {
    throw new Failure(
      'CatalogDiffers',
      'The catalog holds a description of a recovery point that this version cannot read.',
      {
        next: 'If a newer version wrote it, use that one; otherwise run "backupctl catalog rebuild --all".',
        cause: parsed.error,
      },
    );
  }
  const backup = parsed.data;
  return {
    backup,
    storedBytes: storedBytes(backup),
    copies: (row.copies ?? []).map((c) => ({
      pointId: c.point_id,
      copy: c.copy,
      state: c.state,
      bytes: Number(c.bytes),
      publishedAt: iso(c.published_at),
      verifiedAt: iso(c.verified_at),
      lockedUntil: iso(c.locked_until),
      held: c.held,
      error: c.error,
    })),
    holds: row.holds ?? [],
  };
}

interface IncidentRow {
  id: string;
  key: string;
  severity: IncidentRecord['severity'];
  source: string | null;
  point_id: string | null;
  summary: string;
  next: string;
  opened_at: Date;
  last_seen_at: Date;
  resolved_at: Date | null;
  occurrences: number;
}

function incidentOf(r: IncidentRow): IncidentRecord {
  return {
    id: String(r.id),
    key: r.key,
    severity: r.severity,
    source: r.source,
    pointId: r.point_id,
    summary: r.summary,
    next: r.next,
    openedAt: r.opened_at.toISOString(),
    lastSeenAt: r.last_seen_at.toISOString(),
    resolvedAt: iso(r.resolved_at),
    occurrences: r.occurrences,
  };
}

interface JobRow {
  workflow_id: string;
  run_id: string;
  source: string;
  point_id: string | null;
  outcome: JobRecord['outcome'];
  started_at: Date;
  finished_at: Date;
  phases: JobRecord['phases'];
  error: string | null;
}

function jobOf(r: JobRow): JobRecord {
  return {
    workflowId: r.workflow_id,
    runId: r.run_id,
    source: r.source,
    pointId: r.point_id,
    outcome: r.outcome,
    startedAt: r.started_at.toISOString(),
    finishedAt: r.finished_at.toISOString(),
    phases: r.phases,
    error: r.error,
  };
}

function iso(time: string | Date | null): string | null {
  return time === null ? null : new Date(time).toISOString();
}
