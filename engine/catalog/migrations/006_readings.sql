-- Up Migration
-- Restores, and the points that they read. Whoever lets points go asks Temporal which of them are still under way.
CREATE TABLE readings (
  workflow_id text NOT NULL,
  run_id text NOT NULL,
  point_id text NOT NULL,
  source text NOT NULL,
  begun_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workflow_id, run_id, point_id)
);
CREATE INDEX readings_by_source ON readings (source);
