-- Up Migration
-- That nothing needed the WAL of a source before a position was found then, by the store's clock.
CREATE TABLE wal_marks (
  source text NOT NULL,
  marked_at timestamptz NOT NULL,
  needed_from text NOT NULL,
  PRIMARY KEY (source, marked_at)
);
