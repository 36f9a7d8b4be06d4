-- Up Migration
ALTER TABLE copies ADD COLUMN locked_until timestamptz;
