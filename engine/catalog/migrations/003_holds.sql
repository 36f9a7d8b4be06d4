-- Up Migration
ALTER TABLE copies ADD COLUMN held boolean NOT NULL DEFAULT false;

CREATE TABLE holds (
  point_id text NOT NULL REFERENCES points (id) ON DELETE CASCADE,
  at timestamptz NOT NULL,
  action text NOT NULL CHECK (action IN ('add', 'remove')),
  -- The note, as it lies in the stores.
  note jsonb NOT NULL,
  PRIMARY KEY (point_id, at, action)
);
