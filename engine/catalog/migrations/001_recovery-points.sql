-- Up Migration
CREATE TABLE points (
  id text PRIMARY KEY,
  source text NOT NULL,
  captured_at timestamptz NOT NULL,
  -- backup.json, as text: its signature covers what it says, to the letter.
  backup text NOT NULL
);
CREATE INDEX points_by_source ON points (source, captured_at DESC);

CREATE TABLE copies (
  point_id text NOT NULL REFERENCES points (id) ON DELETE CASCADE,
  copy text NOT NULL,
  state text NOT NULL CHECK (state IN ('verified', 'failed', 'pruned')),
  bytes bigint NOT NULL,
  published_at timestamptz,
  verified_at timestamptz,
  error text,
  PRIMARY KEY (point_id, copy)
);

CREATE TABLE incidents (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key text NOT NULL,
  severity text NOT NULL CHECK (severity IN ('critical', 'warning')),
  source text,
  point_id text,
  summary text NOT NULL,
  next text NOT NULL,
  opened_at timestamptz NOT NULL DEFAULT now(),
  last_seen_at timestamptz NOT NULL DEFAULT now(),
  resolved_at timestamptz,
  occurrences int NOT NULL DEFAULT 1
);
-- One open incident for a key: what happens again is counted, not doubled.
CREATE UNIQUE INDEX incidents_open ON incidents (key) WHERE resolved_at IS NULL;

CREATE TABLE jobs (
  workflow_id text NOT NULL,
  run_id text NOT NULL,
  source text NOT NULL,
  point_id text,
  outcome text NOT NULL CHECK (outcome IN ('succeeded', 'partial', 'failed', 'cancelled')),
  started_at timestamptz NOT NULL,
  finished_at timestamptz NOT NULL,
  phases jsonb NOT NULL,
  error text,
  PRIMARY KEY (workflow_id, run_id)
);
CREATE INDEX jobs_by_source ON jobs (source, started_at DESC);
