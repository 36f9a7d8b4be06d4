import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { ArtifactWriter } from '../../engine/artifact/index.ts';
import {
  generateSigningKey,
  publicKeyOf,
  readSigningKey,
  signBackupJson,
  verifyPoint,
} from '../../engine/artifact/index.ts';
import { unprivilegedUser } from '../../engine/sites/index.ts';
import { artifactNames, backupJsonName, storedBytes } from '../../policies/recovery-point.ts';
import { failureOf, makePlace, type Place } from '../engine/artifact/sealing.ts';
import { type SealedSource, sealSource } from '../engine/sources/conformance.ts';
import {
  allGoods,
  type Cluster,
  fillCluster,
  makeCluster,
  runSql,
  usePostgresBinDirs,
  withServer,
} from './source-physical-fixture.ts';

/** Clusters compared with earlier points, page by page. */

const binDirs = await usePostgresBinDirs();
const signal = new AbortController().signal;
const onProgress = () => {};
const key = readSigningKey(generateSigningKey());
const trusted = [publicKeyOf(key)];
const pageBytes = 8192;

let place: Place;
beforeAll(async () => {
  place = await makePlace();
});
afterAll(() => place.remove());

/** Seals and signs a point: a full one, or one that is compared with another. */
async function seal(
  cluster: Cluster,
  since: SealedSource | null,
  wrap: (writer: ArtifactWriter) => ArtifactWriter = (writer) => writer,
): Promise<SealedSource> {
  const made = await sealSource(place, cluster.source(), signal, wrap, { since, trusted });
  const validation = { finishedAt: made.point.sealedAt, passed: true, checks: [] };
  writeFileSync(path.join(made.dir, backupJsonName), signBackupJson({ ...made.point, validation }, key));
  return made;
}

/** What differs between any two backups of a cluster that nobody has written to. */
const ofTheBackup = /^(backup_label|backup_manifest|global\/pg_control|pg_wal\/.*)$/;

/** The hash of each file in a restored data directory, by name. */
async function restored(cluster: Cluster, { reader }: SealedSource): Promise<Record<string, string>> {
  const into = path.join(mkdtempSync(path.join(cluster.dir, 'target-')), 'data');
  await cluster.source().restore(reader, { into, signal, onProgress });
  expect((await cluster.source().compare(reader, into, signal)).differences).toEqual([]);
  const files = readdirSync(into, { recursive: true, withFileTypes: true }).filter((f) => f.isFile());
  const named = files.map((f) => path.relative(into, path.join(f.parentPath, f.name)));
  const hashes = named
    .filter((name) => !ofTheBackup.test(name))
    .sort()
    .map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(path.join(into, name)))
        .digest('hex'),
    ]);
  rmSync(path.dirname(into), { recursive: true });
  return Object.fromEntries(hashes);
}

/** Pages of a relation's main fork that a point itself stores, and that it takes from others. */
async function pagesOf({ reader }: SealedSource, file: string): Promise<{ own: number; others: number }> {
  const bytes = { own: 0, others: 0 };
  for await (const entry of reader.entries()) {
    if (Buffer.from(entry.path).toString() !== file) continue;
    for await (const block of entry.blocks) {
      for (const s of 'stretches' in block ? block.stretches : [block]) {
        bytes[s.artifact === 0 ? 'own' : 'others'] += s.bytes;
      }
    }
  }
  return { own: bytes.own / pageBytes, others: bytes.others / pageBytes };
}

async function fileOf(cluster: Cluster, database: string, relation: string): Promise<string> {
  const [row] = await cluster.sql(database, `SELECT pg_relation_filepath('${relation}') AS file`);
  return String(row?.file);
}

const isCleared = [
  { check: 'restore_test', passed: true },
  { check: 'content', passed: true },
];

async function checksOf(cluster: Cluster, { reader }: SealedSource) {
  const workDir = mkdtempSync(path.join(cluster.dir, 'work-'));
  return cluster.source().testRestore(reader, { workDir, signal, onProgress });
}

/** Some of everything that a server does to files. */
async function live(cluster: Cluster, round: number): Promise<void> {
  await cluster.sql(
    'Shop é',
    `UPDATE goods SET code = md5(code || ${round}) WHERE id % 1000 = ${round}`,
    `DELETE FROM elsewhere WHERE id > ${15_000 - 1000 * round}`,
    'VACUUM elsewhere',
    // Hint bits, and nothing else.
    'SELECT count(*) FROM goods WHERE name IS NOT NULL',
    `CREATE TABLE round${round} AS SELECT i, repeat('x', 100) FROM generate_series(1, 5000) i`,
    `INSERT INTO emptied SELECT generate_series(1, 10000)`,
    `INSERT INTO fleeting VALUES (${round})`,
    `SELECT lo_from_bytea(0, decode(repeat('00ff5c27', 20000), 'hex'))`,
  );
  if (round === 1) {
    await cluster.sql(
      'Shop é',
      'TRUNCATE emptied',
      'VACUUM FULL shuffled',
      'DROP TABLE doomed',
      'REINDEX INDEX goods_id_idx',
      'CLUSTER goods USING goods_id_idx',
      'ALTER TABLE moving SET TABLESPACE fast',
      'CREATE INDEX ON shuffled (b)',
    );
    await cluster.sql('postgres', 'CREATE DATABASE another TEMPLATE archive', 'DROP DATABASE gone');
  }
}

describe.each([
  ['15', binDirs[15], true],
  ['18', binDirs[18], true],
  ['15, without page checksums,', binDirs[15], false],
] as const)('a cluster of PostgreSQL %s', (_version, binDir, checksums) => {
  let cluster: Cluster;
  let full: SealedSource;
  let first: SealedSource;
  let second: SealedSource;
  /** Full ones, taken right after these. */
  const again: SealedSource[] = [];
  beforeAll(async () => {
    cluster = await makeCluster(binDir, { autovacuum: 'off' });
    if (!checksums) {
      const user = await unprivilegedUser();
      await cluster.restart((dataDir) => {
        const as = user ? { uid: user.uid, gid: user.gid } : {};
        execFileSync(path.join(binDir, 'pg_checksums'), ['--disable', '--pgdata', dataDir], {
          ...as,
          cwd: '/',
          stdio: 'ignore',
        });
      });
    }
    await fillCluster(cluster);
    await cluster.sql('postgres', 'CREATE DATABASE gone');
    await cluster.sql(
      'Shop é',
      'CREATE TABLE large (id int, filler text) WITH (fillfactor = 50)',
      `INSERT INTO large SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 6000) i`,
      'CREATE INDEX large_id ON large (id)',
      'VACUUM large',
      'CREATE TABLE emptied AS SELECT generate_series(1, 20000) AS a',
      'CREATE TABLE shuffled AS SELECT i AS a, (i * 7919) % 1000 AS b FROM generate_series(1, 5000) i',
      'CREATE TABLE doomed AS SELECT generate_series(1, 5000) AS a',
      'CREATE TABLE moving AS SELECT generate_series(1, 5000) AS a',
    );
    full = await seal(cluster, null);
    await live(cluster, 1);
    first = await seal(cluster, full);
    again.push(await seal(cluster, null));
    await live(cluster, 2);
    await cluster.sql('Shop é', `UPDATE large SET filler = filler WHERE id IN (5, 1505, 3005, 5995)`);
    second = await seal(cluster, first);
    again.push(await seal(cluster, null));
  }, 600_000);
  afterAll(() => cluster?.remove());

  test('comes back from any level as from a full point of the same moment, file by file', async () => {
    expect(second.point).toMatchObject({
      level: 'incremental',
      parent: first.point.id,
      content: { format: 'blocks' },
      facts: { dataChecksums: checksums, pageBytes },
    });
    for (const [i, point] of [first, second].entries()) {
      const [found, expected] = [await restored(cluster, point), await restored(cluster, again[i] as SealedSource)];
      expect(found).toEqual(expected);
      expect(Object.keys(found).length).toBeGreaterThan(500);
      expect(point.point.content.entries).toBe(again[i]?.point.content.entries);
    }
  }, 600_000);

  test('stores of a relation the pages that were written to', async () => {
    const file = await fileOf(cluster, 'Shop é', 'large');
    const { own, others } = await pagesOf(second, file);
    // Each row and its new version, which lies in the same page.
    expect(own).toBeGreaterThanOrEqual(4);
    expect(own).toBeLessThanOrEqual(8);
    expect(others).toBeGreaterThan(1000);
    expect(await pagesOf(again[1] as SealedSource, file)).toEqual({ own: own + others, others: 0 });
    expect(storedBytes(second.point)).toBeLessThan(storedBytes((again[1] as SealedSource).point) / 3);
  });

  test('is started from a chain, and nothing is found wrong with it', async () => {
    expect(await checksOf(cluster, second)).toMatchObject(isCleared);
    const into = path.join(mkdtempSync(path.join(cluster.dir, 'target-')), 'data');
    await cluster.source().restore(second.reader, { into, signal, onProgress });
    await withServer(into, binDir, async (server) => {
      expect(await runSql(server.uri('Shop é'), allGoods)).toEqual(await cluster.sql('Shop é', allGoods));
    });
  }, 600_000);

  test('is verified with all that it takes from other points; what is damaged there is found', async () => {
    expect((await verifyPoint(second.reader, { signal })).problems).toEqual([]);
    const file = path.join(full.dir, artifactNames['pax-tar']);
    const sound = readFileSync(file);
    const damaged = Buffer.from(sound);
    const middle = damaged.length >> 1;
    damaged[middle] = (damaged[middle] ?? 0) ^ 1;
    writeFileSync(file, damaged);
    const { problems } = await verifyPoint(second.reader, { signal });
    writeFileSync(file, sound);
    expect(problems.join()).toContain(full.point.id);
  });

  test('is restored from no point that wrongly leaves a page out: its validation finds it', async () => {
    await cluster.sql('Shop é', 'UPDATE large SET filler = filler WHERE id IN (7, 57, 107)');
    let left = 0;
    const forgetful = (writer: ArtifactWriter): ArtifactWriter => ({
      ...writer,
      async examine(block) {
        const examined = await writer.examine(block);
        const [run, ...others] = examined.runs ?? [];
        if (!run || others.length === 0 || left > 0) return examined;
        left++;
        return { ...examined, runs: others, bytes: new Uint8Array(examined.bytes.subarray(run.bytes)) };
      },
    });
    const point = await seal(cluster, second, forgetful);
    expect(left).toBe(1);
    expect(await checksOf(cluster, point)).toMatchObject([
      { check: 'restore_test', passed: false, error: expect.stringContaining('not what the manifest names') },
    ]);
    const { problems } = await verifyPoint(point.reader, { signal });
    expect(problems).toEqual([expect.stringContaining('a block in several parts is not what the manifest names')]);
  }, 600_000);

  test('is compared with a point from before a restart, but not with one of another timeline', async () => {
    await cluster.restart();
    const point = await seal(cluster, second);
    expect(await restored(cluster, point)).toEqual(await restored(cluster, await seal(cluster, null)));
    const user = await unprivilegedUser();
    await cluster.sql('postgres', `ALTER SYSTEM SET restore_command = 'false'`);
    await cluster.restart((dataDir) => {
      const file = path.join(dataDir, 'recovery.signal');
      writeFileSync(file, '');
      if (user) chownSync(file, user.uid, user.gid);
    });
    const failure = await failureOf(seal(cluster, point));
    expect(failure).toMatchObject({
      type: 'SourceFailed',
      message: expect.stringContaining('timeline was 1, and is 2'),
    });
  }, 600_000);
});
