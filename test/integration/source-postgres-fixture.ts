import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { generateIdentity, openPoint, type PointReader, recipientOf, sealPoint } from '../../engine/artifact/index.ts';
import { createPostgresInstance, type PostgresInstance } from '../../engine/sites/index.ts';
import { createPostgresLogicalSource, type SealResult, type Source } from '../../engine/sources/index.ts';
import { createDirectoryStore } from '../../engine/stores/index.ts';
import { type PostgresLogicalSource, postgresLogicalSource } from '../../policies/policy.ts';
import { pointPrefix, type SealedPoint } from '../../policies/recovery-point.ts';

/** A server with a password, a staging folder, and a key, for tests of the source. */
export interface Bench {
  dir: string;
  server: PostgresInstance;
  password: string;
  policy(database: string, more?: Record<string, unknown>): PostgresLogicalSource;
  source(database: string, more?: Record<string, unknown>): Source;
  seal(source: Source, signal?: AbortSignal): Promise<Sealed>;
  open(point: SealedPoint): Promise<PointReader>;
  /** Runs each statement by itself; returns the last one's rows. */
  sql(database: string, ...statements: string[]): Promise<Record<string, unknown>[]>;
  remove(): Promise<void>;
}

export interface Sealed extends SealResult {
  point: SealedPoint;
  reader: PointReader;
}

const password = "s3cr3t:/@'x";

export async function makeBench(): Promise<Bench> {
  const dir = mkdtempSync(path.join(tmpdir(), 'source-pg-'));
  const identity = await generateIdentity();
  const recipient = await recipientOf(identity);
  const store = createDirectoryStore({ name: 'staging', path: path.join(dir, 'staging') });
  const server = await createPostgresInstance({
    dataDir: path.join(dir, 'production'),
    password,
    settings: {
      fsync: 'off',
      timezone: 'Asia/Kolkata',
      bytea_output: 'escape',
      datestyle: 'SQL, DMY',
      max_connections: '30',
    },
  });
  let serial = 0;

  const policy: Bench['policy'] = (database, more = {}) =>
    postgresLogicalSource.parse({
      name: 'shop',
      kind: 'postgres-logical',
      ...more,
      connection: {
        host: '127.0.0.1',
        port: server.port,
        database,
        user: 'postgres',
        password: 'env:SHOP',
        ...((more.connection as object | undefined) ?? {}),
      },
    });
  const bench: Bench = {
    dir,
    server,
    password,
    policy,
    source: (database, more) =>
      createPostgresLogicalSource(policy(database, more), { resolveSecret: async () => password }),
    async seal(source, signal = new AbortController().signal) {
      const id = `shop-${++serial}`;
      const pointDir = path.join(dir, 'staging', pointPrefix('shop', id));
      const scratchDir = path.join(dir, `scratch-${serial}`);
      mkdirSync(pointDir, { recursive: true });
      mkdirSync(scratchDir);
      const results: SealResult[] = [];
      try {
        const point = await sealPoint({
          dir: pointDir,
          point: {
            id,
            source: { name: 'shop', kind: 'postgres-logical', host: 'local' },
            level: 'full',
            parent: null,
            classes: ['manual'],
          },
          format: source.format,
          recipients: [recipient],
          software: 'tests',
          signal,
          seal: async (writer) => {
            const result = await source.seal(writer, { scratchDir, signal, onProgress: () => {} });
            results.push(result);
            return result;
          },
        });
        const [result] = results;
        if (!result) throw new Error('nothing was sealed');
        return { ...result, point, reader: await bench.open(point) };
      } finally {
        rmSync(scratchDir, { recursive: true });
      }
    },
    open: (point) => openPoint({ store, source: 'shop', id: point.id, identity, sealed: true }),
    async sql(database, ...statements) {
      const client = new pg.Client({ connectionString: server.uri(database) });
      await client.connect();
      try {
        let rows: Record<string, unknown>[] = [];
        for (const statement of statements) rows = (await client.query(statement)).rows;
        return rows;
      } finally {
        await client.end();
      }
    },
    async remove() {
      await server.destroy();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  return bench;
}

/** A database with one of everything that a dump must not lose. */
export async function makeShop(bench: Bench, name: string): Promise<void> {
  await bench.sql(
    'postgres',
    `DO $$ BEGIN
       IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'Shop "Owner" é') THEN
         CREATE ROLE "Shop ""Owner"" é" LOGIN PASSWORD 'x';
         CREATE ROLE readers;
         GRANT readers TO "Shop ""Owner"" é";
         COMMENT ON ROLE readers IS 'they; read
-- only';
       END IF;
     END $$`,
    `CREATE DATABASE "${name}" OWNER "Shop ""Owner"" é"`,
    `COMMENT ON DATABASE "${name}" IS 'where we sell'`,
    `GRANT CONNECT ON DATABASE "${name}" TO readers`,
  );
  await bench.sql(
    name,
    'CREATE EXTENSION pg_trgm',
    'CREATE SCHEMA "Sales Dept"',
    `CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')`,
    `CREATE DOMAIN positive AS int CHECK (VALUE > 0)`,
    `CREATE TABLE plain (id int PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, name text, at timestamptz, price numeric, ratio float8,
       raw bytea, tags text[], doc jsonb, m mood, twice numeric GENERATED ALWAYS AS (price * 2) STORED, span interval, day date)`,
    `INSERT INTO plain (name, at, price, ratio, raw, tags, doc, m, span, day)
       SELECT E'row\\t' || i || E'\\nline \\\\. "q" é', '2024-03-31 01:30:00+00'::timestamptz + i * interval '1 hour', i / 7.0, sqrt(i),
              decode(md5(i::text), 'hex'), ARRAY['a', NULL, i::text], jsonb_build_object('i', i), 'ok', i * interval '3 days 2 minutes', '2024-01-01'::date + i
         FROM generate_series(1, 2000) i`,
    `INSERT INTO plain (name, raw) VALUES (NULL, NULL), ('', ''), (E'\\\\.', E'\\\\x00ff0a5c'), (repeat('long ', 200000), NULL)`,
    `CREATE TABLE "Sales Dept"."Ord""ers
 2, (x) FROM stdin; é" ("Sel""ect" serial, "FROM" text)`,
    `INSERT INTO "Sales Dept"."Ord""ers
 2, (x) FROM stdin; é" ("FROM") VALUES ('a'), ('b')`,
    'CREATE TABLE empty_one (id bigint)',
    'CREATE TABLE no_columns ()',
    'INSERT INTO no_columns SELECT FROM generate_series(1, 3)',
    'CREATE UNLOGGED TABLE quick (id positive)',
    'INSERT INTO quick VALUES (1), (1), (2)',
    'CREATE TABLE measured (at date, v int) PARTITION BY RANGE (at)',
    `CREATE TABLE measured_24 PARTITION OF measured FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')`,
    'CREATE TABLE measured_rest PARTITION OF measured DEFAULT',
    `INSERT INTO measured SELECT '2024-06-01'::date + i, i FROM generate_series(1, 400) i`,
    'CREATE TABLE parent (id int PRIMARY KEY, boss int REFERENCES parent)',
    'INSERT INTO parent VALUES (1, 2), (2, 1)',
    'ALTER TABLE plain DROP COLUMN tags',
    'ALTER TABLE plain ADD COLUMN later text DEFAULT $d$it; $d$',
    'CREATE INDEX plain_trgm ON plain USING gin (name gin_trgm_ops)',
    'CREATE VIEW v AS SELECT id, upper(name) AS name FROM plain',
    'CREATE MATERIALIZED VIEW mv AS SELECT count(*) AS n FROM plain',
    `CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS $$ SELECT $1 + 1; -- ALTER TABLE x OWNER TO nobody;
$$`,
    'CREATE FUNCTION f(text) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN RETURN $1 || $q$x$q$; END $f$',
    `CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$`,
    'CREATE TRIGGER t BEFORE UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION touch()',
    'CREATE SEQUENCE odd INCREMENT 3 START 7',
    `SELECT nextval('odd'), nextval('odd')`,
    `COMMENT ON TABLE plain IS 'it''s a; comment'`,
    `COMMENT ON COLUMN plain.name IS E'two\\nlines'`,
    'ALTER TABLE plain ENABLE ROW LEVEL SECURITY',
    'CREATE POLICY see ON plain FOR SELECT TO readers, "Shop ""Owner"" é" USING (id > 0)',
    'ALTER TABLE "Sales Dept"."Ord""ers\n 2, (x) FROM stdin; é" OWNER TO "Shop ""Owner"" é"',
    'GRANT SELECT ON plain TO readers WITH GRANT OPTION',
    'ALTER DEFAULT PRIVILEGES FOR ROLE "Shop ""Owner"" é" IN SCHEMA "Sales Dept" GRANT SELECT ON TABLES TO readers',
    `SELECT lo_from_bytea(0, decode(repeat('00ff5c27', 20000), 'hex')), lo_from_bytea(4711, ''), lo_from_bytea(4712, 'x')`,
    `COMMENT ON LARGE OBJECT 4712 IS 'tiny'`,
    'ALTER LARGE OBJECT 4712 OWNER TO readers',
    'CREATE PUBLICATION pub FOR TABLE plain',
    'CREATE STATISTICS st ON id, name FROM plain',
    `ALTER DATABASE "${name}" SET timezone = 'America/New_York'`,
  );
}
