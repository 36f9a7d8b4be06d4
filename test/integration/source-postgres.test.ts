import { mkdtempSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { testRestoreDatabase } from '../../engine/sources/postgres-logical/test-restore.ts';
import type { Check } from '../../policies/recovery-point.ts';
import { type Bench, makeBench, makeShop, type Sealed } from './source-postgres-fixture.ts';

let bench: Bench;
beforeAll(async () => {
  bench = await makeBench();
  await makeShop(bench, 'Shop é');
});
afterAll(() => bench.remove());

const signal = new AbortController().signal;
const onProgress = () => {};

/** Test-restores, expects that nothing is left of it, and returns the checks by name. */
async function tried(sealed: Sealed, beforeCompare?: (uri: string) => Promise<void>): Promise<Record<string, Check>> {
  const workDir = mkdtempSync(path.join(bench.dir, 'work-'));
  const checks = await testRestoreDatabase(sealed.reader, {
    workDir,
    signal,
    onProgress,
    ...(beforeCompare ? { beforeCompare } : {}),
  });
  expect(readdirSync(workDir)).toEqual([]);
  return Object.fromEntries(checks.map((c) => [c.check, c]));
}

async function within(uri: string, ...statements: string[]): Promise<void> {
  const client = new pg.Client({ connectionString: uri });
  try {
    await client.connect();
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

describe.each(['custom', 'directory'])('a database sealed in format %s', (format) => {
  let sealed: Sealed;
  beforeAll(async () => {
    sealed = await bench.seal(bench.source('Shop é', { format, fingerprint: 'source' }));
  });

  test('says what was captured, and when by the server', async () => {
    expect(sealed.warnings).toEqual([]);
    expect(sealed.facts).toMatchObject({ database: 'Shop é', encoding: 'UTF8', serverMajor: expect.any(Number) });
    expect(sealed.facts.systemIdentifier).toMatch(/^\d+$/);
    expect(sealed.facts.snapshotLsn).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/);
    expect(Math.abs(Date.parse(sealed.capturedAt) - Date.parse(sealed.point.startedAt))).toBeLessThan(60_000);
    expect(sealed.point.content.format).toBe(format === 'custom' ? 'parts' : 'pax-tar');
    const parts = sealed.point.content.parts?.map((p) => p.path);
    if (format === 'custom') expect(parts).toEqual(['database.dump', 'fingerprint.json', 'globals.sql']);
  });

  test('comes back in an isolated server equal to the snapshot, whatever the names, types and settings', async () => {
    const { restore_test, content } = await tried(sealed);
    expect(restore_test?.error).toBeUndefined();
    expect(content?.error).toBeUndefined();
    expect(content).toMatchObject({ passed: true });
    expect(content?.details).toMatch(
      /^8 tables, 2,414 rows, 3 sequences, 3 large objects and \d+ objects of the schema equal the dumped snapshot, and 8 tables/,
    );
  });

  test('is restored into an empty database with owners, grants and comments', async () => {
    await bench.sql('postgres', `CREATE DATABASE back_${format}`);
    const source = bench.source('Shop é');
    const into = bench.server.uri(`back_${format}`);
    const result = await source.restore(sealed.reader, { into, signal, onProgress });
    expect(result.warnings).toEqual([]);
    expect(result.bytes).toBeGreaterThan(1_000_000);
    expect(await source.compare(sealed.reader, into, signal)).toMatchObject({ differences: [] });
    const [row] = await bench.sql(
      `back_${format}`,
      `SELECT obj_description('plain'::regclass) AS comment, has_table_privilege('readers', 'plain', 'SELECT WITH GRANT OPTION') AS granted,
              (SELECT count(*)::int FROM plain) AS rows, (SELECT n::int FROM mv) AS seen, currval_or_last.last_value::int AS odd
         FROM odd currval_or_last`,
    );
    expect(row).toEqual({ comment: "it's a; comment", granted: true, rows: 2004, seen: 2004, odd: 10 });
    const again = await source.restore(sealed.reader, { into, signal, onProgress }).catch((e: unknown) => e);
    expect(again).toMatchObject({ type: 'TargetNotEmpty', message: expect.stringContaining('Sales Dept') });
    // Nobody heard of the attempt that did it: the next one finds its work done, unless it is not as it has to be.
    const retried = { into, isRetry: true, signal, onProgress };
    expect(await source.restore(sealed.reader, retried)).toEqual({
      ...{ entries: 1, bytes: format === 'custom' ? result.bytes : expect.any(Number) },
      warnings: ['an attempt before this one had restored it'],
    });
    await bench.sql(`back_${format}`, 'DELETE FROM plain WHERE id = 1234');
    const other = await source.restore(sealed.reader, retried).catch((e: unknown) => e);
    expect(other).toMatchObject({ type: 'TargetNotEmpty' });
  });
});

describe('a test restore', () => {
  let sealed: Sealed;
  beforeAll(async () => {
    sealed = await bench.seal(bench.source('Shop é', { fingerprint: 'source' }));
  });

  test('names everything that is not as it was dumped', async () => {
    const damages: [what: string, statement: string, found: RegExp][] = [
      ['an altered row', 'UPDATE plain SET ratio = ratio + 1e-9 WHERE id = 1234', /plain: its 2004 rows are not those/],
      ['a missing row', 'DELETE FROM measured_24 WHERE v = 7', /measured_24 has \d+ rows instead of \d+/],
      ['a row that is there twice', 'INSERT INTO quick VALUES (2)', /quick has 4 rows instead of 3/],
      ['swapped values', 'UPDATE parent SET boss = id', /parent: its 2 rows are not those/],
      ['a sequence that stands elsewhere', `SELECT nextval('odd')`, /\(sequences\): its 3 rows/],
      ['an altered large object', `SELECT lo_put(4712, 0, 'y')`, /\(large objects\): its 3 rows/],
      ['a missing function', 'DROP FUNCTION f(int)', /FUNCTION public f\(integer\) was not restored/],
      ['a missing index', 'DROP INDEX plain_trgm', /INDEX public plain_trgm was not restored/],
      ['a table too many', 'CREATE TABLE extra AS SELECT 1 AS a', /public.extra is there but not in the dump/],
    ];
    const { restore_test, content } = await tried(sealed, (uri) =>
      within(uri, ...damages.map(([, statement]) => statement)),
    );
    expect(restore_test?.passed).toBe(true);
    expect(content?.passed).toBe(false);
    for (const [, , found] of damages) expect(content?.error).toMatch(found);
  });

  test('finds a single altered value', async () => {
    const { content } = await tried(sealed, (uri) => within(uri, `UPDATE parent SET boss = NULL WHERE id = 2`));
    expect(content?.error).toBe(
      'public.parent: its 2 rows are not those of the dump; public.parent: its 2 rows are not those the source had',
    );
  });

  test('creates the roles that are needed when the point has no globals', async () => {
    const { content, restore_test } = await tried(await bench.seal(bench.source('Shop é', { globals: false })));
    expect(restore_test?.error).toBeUndefined();
    expect(content?.error).toBeUndefined();
  });

  test('passes for an empty database', async () => {
    await bench.sql('postgres', 'CREATE DATABASE void');
    const { content } = await tried(await bench.seal(bench.source('void')));
    expect(content).toMatchObject({ passed: true, details: expect.stringContaining('0 tables, 0 rows, 0 sequences') });
  });

  test('keeps the encoding of a database that is not UTF8', async () => {
    await bench.sql('postgres', `CREATE DATABASE old ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'`);
    await bench.sql('old', 'CREATE TABLE t (a text)', `INSERT INTO t VALUES ('été'), ('ÿ')`);
    const { content } = await tried(await bench.seal(bench.source('old', { fingerprint: 'source' })));
    expect(content).toMatchObject({ passed: true });
  });

  test('lets nobody else on the machine look at what it restores', async () => {
    await tried(sealed, async (uri) => {
      const withoutPassword = new URL(uri);
      withoutPassword.password = '';
      await expect(within(withoutPassword.href, 'SELECT')).rejects.toThrow(/password/);
      await within(uri, 'SELECT');
    });
  });

  test('leaves no server and no file when it is aborted', async () => {
    const workDir = mkdtempSync(path.join(bench.dir, 'work-'));
    const abort = new AbortController();
    const running = testRestoreDatabase(sealed.reader, {
      workDir,
      signal: abort.signal,
      onProgress,
      beforeCompare: async () => abort.abort(new Error('enough')),
    });
    await expect(running).rejects.toThrow('enough');
    expect(readdirSync(workDir)).toEqual([]);
  });
});
