-- Up Migration
-- That a point may go was found then, by the store's clock; it is removed when it may still go after a time of grace.
CREATE TABLE expiry_marks (
  point_id text PRIMARY KEY REFERENCES points (id) ON DELETE CASCADE,
  marked_at timestamptz NOT NULL
);

-- What retention has removed, or has begun to; it outlives the point. No outcome: it was interrupted, and goes on.
CREATE TABLE removals (
  point_id text PRIMARY KEY,
  source text NOT NULL,
  reasons jsonb NOT NULL,
  asked_by text NOT NULL,
  begun_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz,
  outcome text CHECK (outcome IN ('removed', 'refused')),
  note text
);
CREATE INDEX removals_by_source ON removals (source, begun_at DESC);

-- Points that were suddenly different, and that a person has found in order.
CREATE TABLE anomaly_decisions (
  point_id text PRIMARY KEY,
  source text NOT NULL,
  operator text NOT NULL,
  reason text NOT NULL,
  decided_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX anomaly_decisions_by_source ON anomaly_decisions (source);
