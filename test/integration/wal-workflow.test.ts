import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MeasuredRpo } from '../../policies/canary.ts';
import type { BackupResult, RepairResult, RestoreResult, WalArchiveStatus } from '../../workflows/contracts.ts';
import { eventually } from '../support/eventually.ts';
import { allRuns, type Run, secretsIn, textsOf } from '../support/histories.ts';
import { hidingPlaces } from '../support/texts.ts';
import { startWhole, type Whole } from '../support/whole.ts';
import {
  type Cluster,
  makeCluster,
  password,
  runSql,
  usePostgresBinDirs,
  withServer,
} from './source-physical-fixture.ts';

/** WAL as it is archived by the workers of the stack, of both major versions. */

const binDirs = await usePostgresBinDirs();
process.env.WAL_TEST_PASSWORD = password;
const versions = [15, 18] as const;
type Version = (typeof versions)[number];
/** Stands in the WAL, and in nothing that Temporal keeps. */
const kept = 'a line that is nobody else’s business';
const sourceOf = (version: Version) => `pg-${version}`;

let whole: Whole;
const clusters = {} as Record<Version, Cluster>;

beforeAll(async () => {
  for (const version of versions) clusters[version] = await makeCluster(binDirs[version]);
  whole = await startWhole({
    sources: () =>
      versions.map((version) => ({
        name: sourceOf(version),
        kind: 'postgres-physical',
        connection: {
          host: '127.0.0.1',
          port: clusters[version].server.port,
          user: 'saver',
          password: 'env:WAL_TEST_PASSWORD',
        },
        // Who replicates may write nothing: the canary has a login of its own.
        wal: { every: '1s', canary: { every: '1s', user: 'postgres', password: 'env:WAL_TEST_PASSWORD' } },
      })),
  });
}, 300_000);
afterAll(async () => {
  await whole?.stop();
  for (const version of versions) await clusters[version]?.remove();
}, 120_000);

interface Told {
  archiving: WalArchiveStatus['streaming'];
  slotBytes: number | null;
  shipped: { lsn: string; until: string; at: string } | null;
  canary: (MeasuredRpo & { error: string | null }) | null;
  copies: { copy: string; archived: { timeline: number; lsn: string; until: string } | null }[];
}
const statusOf = (version: Version) => whole.backupctl<Told>('wal', 'status', sourceOf(version));

const timeIn = (row: Record<string, unknown> | undefined) => (row?.at as Date | undefined)?.toISOString() ?? '';

/** Until all copies reach beyond what was committed by now. */
async function archived(version: Version): Promise<void> {
  const [row] = await clusters[version].sql('postgres', 'SELECT clock_timestamp() AS at');
  const at = timeIn(row);
  await eventually(async () => {
    const { copies } = await statusOf(version);
    expect(copies.filter((c) => c.archived && c.archived.until > at).map((c) => c.copy)).toHaveLength(3);
  }, 120_000);
}

/** Returns a moment at which the row is there. */
async function insert(version: Version, n: number): Promise<string> {
  const insertion = `INSERT INTO told VALUES (${n})`;
  const [row] = await clusters[version].sql('postgres', insertion, 'SELECT clock_timestamp() AS at');
  // Of its microseconds only milliseconds are left.
  return new Date(Date.parse(timeIn(row)) + 1).toISOString();
}

/** The measured RPO, once a canary can be restored. */
async function measured(version: Version): Promise<NonNullable<Told['canary']>> {
  for (;;) {
    const { canary } = await statusOf(version);
    if (canary?.newest) return canary;
    await setTimeout(200);
  }
}

/** What a query gives of the cluster as it was at a moment. */
async function restored(version: Version, to: string, query: string): Promise<Record<string, unknown>[]> {
  const into = path.join(mkdtempSync(path.join(whole.dataDir, 'restored', 'wal-')), 'data');
  await whole.backupctl<RestoreResult>(
    ...['restore', sourceOf(version), '--to', to, '--into', into],
    ...['--operator', 'ann', '--reason', 'a test', '--wait'],
  );
  return withServer(into, binDirs[version], (server) => runSql(server.uri(), query));
}

describe.each(versions)('the WAL of PostgreSQL %d', (version) => {
  test('is archived once the policy is applied, and lets come back to any moment', async () => {
    await clusters[version].sql(
      'postgres',
      'CREATE TABLE told (n int)',
      `CREATE TABLE kept AS SELECT '${kept}' AS line`,
    );
    await whole.backupctl('policy', 'apply');
    await whole.backupctl<BackupResult>('backup', 'run', sourceOf(version), '--wait');
    const moments: string[] = [];
    for (let n = 0; n < 4; n++) {
      if (n === 2) process.kill(whole.workers.pid('backup'), 'SIGKILL');
      moments.push(await insert(version, n));
      await archived(version);
    }
    const chosen = Math.floor(Math.random() * 3);
    const rows = await restored(version, moments[chosen] ?? '', 'SELECT n FROM told ORDER BY n');
    expect(rows.map((row) => row.n)).toEqual([0, 1, 2, 3].slice(0, chosen + 1));
  }, 400_000);

  test('brings back the canary that was said to be restorable, and its lag is what it took', async () => {
    const { newest, lagMs, worstLagMs, error } = await measured(version);
    expect(error).toBeNull();
    expect(lagMs).toBeGreaterThan(0);
    expect(worstLagMs).toBeGreaterThanOrEqual(lagMs ?? 0);
    const rows = await restored(
      version,
      'latest',
      'SELECT source, max(at) AS at FROM backup_canary.rows GROUP BY source',
    );
    expect(rows.map((row) => row.source)).toEqual([sourceOf(version)]);
    expect(timeIn(rows[0]) >= String(newest?.at)).toBe(true);
    // What was in the table before that moment can be no younger than the moment of its restore.
    expect(Date.parse(timeIn(rows[0]))).toBeLessThan(Date.now());
  }, 400_000);
});

describe('in what Temporal keeps of archiving, backing up and coming back', () => {
  let runs: Run[];
  beforeAll(async () => {
    runs = await allRuns(whole.client);
  });

  test('is there no secret, plain or encoded, and nothing of what was archived', () => {
    const types = new Set(runs.map(({ info }) => info.type));
    expect([...types]).toEqual(expect.arrayContaining(['walArchive', 'backup', 'restore']));
    const texts = textsOf(runs);
    expect(secretsIn(texts, [...whole.secrets, ['the login', password]])).toEqual([]);
    expect(hidingPlaces(texts, kept)).toEqual([]);
    // The search does find what is there.
    expect(hidingPlaces(texts, 'postgres-physical')).not.toEqual([]);
  });

  test('is there little: ids and references only', () => {
    const payloads = textsOf(runs.filter(({ info }) => info.type === 'walArchive')).filter((t) => t.isPayload);
    expect(payloads.length).toBeGreaterThan(10);
    expect(payloads.filter((t) => t.text.length > 4_096).map((t) => t.at)).toEqual([]);
  });
});

test('WAL that is damaged in one copy and lost in another is put again, at a word of a person', async () => {
  const source = sourceOf(15);
  const { dataDir, bucket } = whole.stack;
  const disk = path.join(dataDir, 'server-disk', source, 'wal');
  const east = path.join(dataDir, 's3-east', bucket, source, 'wal');
  const held = (folder: string) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.wal'));
  const inEast = held(east);
  // What only one copy holds, a killed worker had sealed twice.
  const [damaged = '', lost = ''] = held(disk)
    .filter((name) => inEast.includes(name))
    .sort();
  const file = path.join(disk, damaged);
  const bytes = readFileSync(file);
  const flipped = Buffer.from(bytes);
  flipped.writeUInt8((flipped.at(-100) ?? 0) ^ 1, flipped.length - 100);
  writeFileSync(file, flipped);
  rmSync(path.join(east, lost));
  const verify = async (copy: string) =>
    (await whole.tryBackupctl('wal', 'verify', source, '--copy', copy, '--read')).exitCode;
  expect([await verify('server-disk'), await verify('s3-east')]).toEqual([6, 6]);
  // Archiving goes on meanwhile: what of that does not lie everywhere yet is no matter here.
  const { stdout } = await whole.tryBackupctl('wal', 'repair', source, '--wait');
  const { outcomes } = JSON.parse(stdout) as RepairResult;
  const mended = outcomes.flatMap(({ copy, keys }) => keys.map((key) => `${copy} ${key}`));
  expect(mended).toEqual(
    expect.arrayContaining([`server-disk ${source}/wal/${damaged}`, `s3-east ${source}/wal/${lost}`]),
  );
  expect(readFileSync(file)).toEqual(bytes);
  await eventually(async () => {
    expect([await verify('server-disk'), await verify('s3-east')]).toEqual([0, 0]);
  }, 60_000);
}, 200_000);
