import type pg from 'pg';
import type { ExpiryMark } from '../../policies/expiry.ts';
import type { WalMark } from '../../policies/wal-expiry.ts';

/** What retention must remember. Not derivable from the stores, so rebuild leaves it alone. */
export interface RetentionRecords {
  /** The points of a source that may go, and since when. */
  marks(source: string): Promise<ExpiryMark[]>;
  /** Sets and lifts marks. Points that the catalog does not have any more are passed over. Idempotent. */
  mark(change: { add: string[]; remove: string[]; at: string }): Promise<void>;
  /** Writes down what is about to be removed, and why, before anything of it is. Idempotent. */
  beginRemovals(removals: RemovalInput[]): Promise<void>;
  endRemoval(pointId: string, outcome: 'removed' | 'refused', note: string | null): Promise<void>;
  /** Newest first; `open`: only those that were begun and have not ended. */
  removals(filter: { source?: string; open?: boolean; limit?: number }): Promise<RemovalRecord[]>;
  /** Since when nothing needs the WAL of a source before a position; the oldest first. */
  walMarks(source: string): Promise<WalMark[]>;
  /** Sets a mark, and forgets those from before `since`: a newer one is ripe. Idempotent. */
  markWal(source: string, mark: WalMark, since: string | null): Promise<void>;
  /** A person has found a point in order that was suddenly different. */
  decideAnomaly(decision: Omit<AnomalyDecision, 'decidedAt'>): Promise<void>;
  anomalyDecisions(source: string): Promise<AnomalyDecision[]>;
  /** A restore is about to read a point. Idempotent. */
  beginReading(reading: Reading & { source: string }): Promise<void>;
  /** Restores that were begun and not found ended yet, with the points that they read. */
  readings(source: string): Promise<Reading[]>;
  /** Idempotent. */
  endReadings(run: Omit<Reading, 'pointId'>): Promise<void>;
}

/** A point that a restore reads: its workflow, by the run that located it. */
export interface Reading {
  workflowId: string;
  runId: string;
  pointId: string;
}

export interface RemovalInput {
  pointId: string;
  source: string;
  /** Why nothing kept it, one line each. */
  reasons: string[];
  /** Who had it removed: `the schedule`, or a person with the reason. */
  by: string;
}

export interface RemovalRecord extends RemovalInput {
  begunAt: string;
  endedAt: string | null;
  outcome: 'removed' | 'refused' | null;
  /** Why it was refused. */
  note: string | null;
}

export interface AnomalyDecision {
  pointId: string;
  source: string;
  operator: string;
  reason: string;
  decidedAt: string;
}

type Query = <R extends pg.QueryResultRow>(text: string, values?: unknown[]) => Promise<R[]>;

export function createRetentionRecords(query: Query): RetentionRecords {
  return {
    async marks(source) {
      const rows = await query<{ point_id: string; marked_at: Date }>(
        'SELECT m.* FROM expiry_marks m JOIN points p ON p.id = m.point_id WHERE p.source = $1 ORDER BY marked_at, point_id',
        [source],
      );
      return rows.map((r) => ({ pointId: r.point_id, markedAt: r.marked_at.toISOString() }));
    },

    async mark({ add, remove, at }) {
      await query(
        `WITH lifted AS (DELETE FROM expiry_marks WHERE point_id = ANY ($1))
         INSERT INTO expiry_marks (point_id, marked_at) SELECT id, $3 FROM points WHERE id = ANY ($2)
         ON CONFLICT (point_id) DO NOTHING`,
        [remove, add, at],
      );
    },

    async beginRemovals(removals) {
      for (const { pointId, source, reasons, by } of removals) {
        await query(
          `INSERT INTO removals (point_id, source, reasons, asked_by) VALUES ($1, $2, $3, $4)
           ON CONFLICT (point_id) DO UPDATE
           SET reasons = $3, asked_by = $4, begun_at = now(), ended_at = NULL, outcome = NULL, note = NULL
           WHERE removals.ended_at IS NOT NULL`,
          [pointId, source, JSON.stringify(reasons), by],
        );
      }
    },

    async endRemoval(pointId, outcome, note) {
      await query('UPDATE removals SET ended_at = now(), outcome = $2, note = $3 WHERE point_id = $1', [
        pointId,
        outcome,
        note,
      ]);
    },

    async removals(filter) {
      const rows = await query<RemovalRow>(
        `SELECT * FROM removals
         WHERE ($1::text IS NULL OR source = $1) AND ($2::boolean IS NULL OR (ended_at IS NULL) = $2)
         ORDER BY begun_at DESC, point_id LIMIT $3`,
        [filter.source ?? null, filter.open ?? null, filter.limit ?? null],
      );
      return rows.map((r) => ({
        pointId: r.point_id,
        source: r.source,
        reasons: r.reasons,
        by: r.asked_by,
        begunAt: r.begun_at.toISOString(),
        endedAt: r.ended_at?.toISOString() ?? null,
        outcome: r.outcome,
        note: r.note,
      }));
    },

    async walMarks(source) {
      const rows = await query<{ marked_at: Date; needed_from: string }>(
        'SELECT * FROM wal_marks WHERE source = $1 ORDER BY marked_at',
        [source],
      );
      return rows.map((r) => ({ from: r.needed_from, markedAt: r.marked_at.toISOString() }));
    },

    async markWal(source, { from, markedAt }, since) {
      await query(
        `WITH old AS (DELETE FROM wal_marks WHERE source = $1 AND marked_at < $4)
         INSERT INTO wal_marks (source, marked_at, needed_from) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
        [source, markedAt, from, since],
      );
    },

    async decideAnomaly({ pointId, source, operator, reason }) {
      await query(
        `INSERT INTO anomaly_decisions (point_id, source, operator, reason) VALUES ($1, $2, $3, $4)
         ON CONFLICT (point_id) DO NOTHING`,
        [pointId, source, operator, reason],
      );
    },

    async anomalyDecisions(source) {
      const rows = await query<DecisionRow>('SELECT * FROM anomaly_decisions WHERE source = $1 ORDER BY decided_at', [
        source,
      ]);
      return rows.map((r) => ({
        pointId: r.point_id,
        source: r.source,
        operator: r.operator,
        reason: r.reason,
        decidedAt: r.decided_at.toISOString(),
      }));
    },

    async beginReading({ workflowId, runId, pointId, source }) {
      await query(
        'INSERT INTO readings (workflow_id, run_id, point_id, source) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING',
        [workflowId, runId, pointId, source],
      );
    },

    async readings(source) {
      const rows = await query<{ workflow_id: string; run_id: string; point_id: string }>(
        'SELECT * FROM readings WHERE source = $1 ORDER BY begun_at, point_id',
        [source],
      );
      return rows.map((r) => ({ workflowId: r.workflow_id, runId: r.run_id, pointId: r.point_id }));
    },

    async endReadings({ workflowId, runId }) {
      await query('DELETE FROM readings WHERE workflow_id = $1 AND run_id = $2', [workflowId, runId]);
    },
  };
}

interface RemovalRow {
  point_id: string;
  source: string;
  reasons: string[];
  asked_by: string;
  begun_at: Date;
  ended_at: Date | null;
  outcome: RemovalRecord['outcome'];
  note: string | null;
}

interface DecisionRow {
  point_id: string;
  source: string;
  operator: string;
  reason: string;
  decided_at: Date;
}
