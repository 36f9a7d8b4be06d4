import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { PointReader } from '../../engine/artifact/index.ts';
import type { PostgresInstance } from '../../engine/sites/index.ts';
import { planPointInTime } from '../../engine/sources/wal/plan.ts';
import { recoverCluster } from '../../engine/sources/wal/recover.ts';
import { isFailure } from '../../policies/failure.ts';
import { lsnOf } from '../../policies/wal.ts';
import type { RecoveryTarget } from '../../policies/wal-plan.ts';
import { makePlace, type Place } from '../engine/artifact/sealing.ts';
import { sealSource } from '../engine/sources/conformance.ts';
import {
  type Cluster,
  makeCluster,
  password,
  runSql,
  usePostgresBinDirs,
  withServer,
} from './source-physical-fixture.ts';
import { handOver, makeWalPlace, startArchive, type WalPlace } from './wal-fixture.ts';

const binDirs = await usePostgresBinDirs();
const signal = new AbortController().signal;
const onProgress = () => {};
/** Each recovers several times. */
const patienceMs = 400_000;

async function refusal(work: Promise<unknown>): Promise<{ type?: string; message: string; next?: string }> {
  return work.then(
    () => {
      throw new Error('it was expected to fail, and did not');
    },
    (error: unknown) => error as Error,
  );
}

/** A moment between two transactions, and the rows that there were. */
interface Moment {
  at: string;
  lsn: string;
  rows: number;
  xid: number;
}

const now = `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS at,
                    pg_current_wal_insert_lsn()::text AS lsn`;

/** All in all some twenty moments of every kind, so that the suite stays quick. */
const versions: [version: string, binDir: string, chosen: number[]][] = [
  ['15', binDirs[15], [1, 7, 12, 16, 19]],
  ['18', binDirs[18], [6, 14]],
];

describe.each(versions)('a cluster of PostgreSQL %s that was destroyed', (_version, binDir, chosen) => {
  let place: Place;
  let wal: WalPlace;
  let dir: string;
  let point: PointReader;
  const moments: Moment[] = [];
  /** Of whom all WAL that is archived by then was wrapped anew for. */
  let successor: string;

  beforeAll(async () => {
    place = await makePlace();
    const cluster: Cluster = await makeCluster(binDir);
    dir = mkdtempSync(path.join(place.dir, 'targets-'));
    // Points and WAL lie in one store, as they do in a copy.
    wal = await makeWalPlace(place.dir);
    await cluster.sql('postgres', 'CREATE TABLE told (n int); CREATE TABLE later (n int)');
    const archive = await startArchive(wal, { port: cluster.server.port, bundleMs: 300 });
    point = (await sealSource(place, cluster.source())).reader;
    for (let n = 1; n <= 20; n++) {
      if (n === 10) await cluster.sql('postgres', `SELECT pg_create_restore_point('before ten')`);
      const [row] = await cluster.sql(
        'postgres',
        `INSERT INTO told VALUES (${n}) RETURNING pg_current_xact_id()::text AS xid`,
      );
      // Times are compared in milliseconds.
      await setTimeout(5);
      const [moment] = await cluster.sql('postgres', now);
      moments.push({ at: String(moment?.at), lsn: String(moment?.lsn), rows: n, xid: Number(row?.xid) });
      await setTimeout(5);
    }
    // The archive vouches for a moment once it has heard of a later one.
    for (let isKnown = false; !isKnown; ) {
      await cluster.sql('postgres', 'INSERT INTO later VALUES (1)');
      await archive.caughtUp((statement) => cluster.sql('postgres', statement));
      isKnown = await plan({ kind: 'time', at: moment(20).at }).then(
        () => true,
        (error: unknown) => {
          if (isFailure(error, 'PointUnknown')) return false;
          throw error;
        },
      );
    }
    await archive.stop();
    await cluster.remove();
    successor = await handOver(wal);
  });
  afterAll(() => place.remove());

  async function plan(target: RecoveryTarget, timeline?: number) {
    const { store, trusted } = wal;
    const which = timeline === undefined ? {} : { timeline };
    return planPointInTime({ store, source: 'cluster', trusted, points: [point.backup], target, ...which });
  }
  interface How {
    timeline?: number;
    /** Default: that of whom the WAL was sealed for. */
    identity?: string;
  }
  async function recover(target: RecoveryTarget, { timeline, identity = wal.identity }: How = {}) {
    const into = path.join(mkdtempSync(path.join(dir, 'recovered-')), 'data');
    const planned = await plan(target, timeline);
    const { trusted } = wal;
    const result = await recoverCluster(point, { into, planned, trusted, identity, signal, onProgress });
    return { into, result };
  }
  const rowsOf = async (server: PostgresInstance) =>
    (await runSql(server.uri(), 'SELECT n FROM told ORDER BY n')).map((row) => Number(row.n));
  const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);

  /** Recovers, starts, compares every row, and removes it again. */
  async function expectRows(target: RecoveryTarget, rows: number[], how: How = {}) {
    const { into, result } = await recover(target, how);
    await withServer(into, binDir, async (server) => expect(await rowsOf(server)).toEqual(rows));
    rmSync(path.dirname(into), { recursive: true });
    return result;
  }
  const moment = (n: number): Moment => moments[n - 1] ?? { at: '', lsn: '', rows: 0, xid: 0 };

  test(
    'comes back exactly as it was at any moment',
    async () => {
      for (const n of chosen) {
        const { recovered } = await expectRows({ kind: 'time', at: moment(n).at }, upTo(n));
        expect(recovered?.lastTransactionAt && recovered.lastTransactionAt <= moment(n).at).toBe(true);
        expect(recovered?.timeline).toBe(2);
      }
    },
    patienceMs,
  );

  test(
    'comes back to a position, a transaction, a restore point, and as far as it goes, also for whom its keys were wrapped anew',
    async () => {
      const identity = successor;
      // The record there only begins the sixth transaction.
      await expectRows({ kind: 'lsn', lsn: lsnOf(moment(5).lsn) }, upTo(5), { identity });
      await expectRows({ kind: 'xid', xid: moment(13).xid }, upTo(13));
      await expectRows({ kind: 'name', name: 'before ten' }, upTo(9));
      await expectRows({ kind: 'time', at: moment(20).at }, upTo(20), { identity });
      const { into, result } = await recover({ kind: 'latest' }, { identity });
      expect(readdirSync(into).filter((name) => /signal|wal-fetch|^backup_label$/.test(name))).toEqual([]);
      expect(result.warnings).toEqual([]);
      await withServer(into, binDir, async (server) => {
        expect(await rowsOf(server)).toEqual(upTo(20));
        execFileSync(path.join(binDir, 'pg_amcheck'), ['--all', '--install-missing', '--heapallindexed'], {
          env: {
            PATH: process.env.PATH,
            PGPASSWORD: password,
            PGHOST: server.host,
            PGPORT: String(server.port),
            PGUSER: 'postgres',
          },
        });
      });
    },
    patienceMs,
  );

  test('is not brought back to a moment that cannot be reached; the nearest is named, and nothing left', async () => {
    const last = (await wal.contents()).ranges.at(-1);
    const late = await refusal(plan({ kind: 'time', at: '2099-01-01T00:00:00Z' }));
    expect(late).toMatchObject({
      type: 'PointUnknown',
      next: `The nearest moment that can be reached is ${last?.until}.`,
    });
    const early = await refusal(plan({ kind: 'time', at: '2001-01-01T00:00:00Z' }));
    expect(early).toMatchObject({
      type: 'PointUnknown',
      next: expect.stringContaining(String(point.backup.facts.stoppedAt)),
    });
    expect(await refusal(plan({ kind: 'name', name: 'before eleven' }))).toMatchObject({
      next: 'It has: before ten.',
    });
    expect(await refusal(plan({ kind: 'latest' }, 3))).toMatchObject({ next: 'It has: 1.' });
    // One that its range may hold, but that was rolled back for good: only the server finds out.
    const planned = await plan({ kind: 'xid', xid: moment(20).xid });
    planned.plan.stop = { setting: 'recovery_target_xid', value: '999999' };
    const into = path.join(dir, 'refused');
    const { trusted, identity } = wal;
    const refused = await refusal(recoverCluster(point, { into, planned, trusted, identity, signal, onProgress }));
    expect(refused).toMatchObject({ type: 'PointUnknown', message: expect.stringContaining('999999') });
    expect(existsSync(into)).toBe(false);
  });

  test(
    'goes on on a timeline of its own, and comes back on either',
    async () => {
      const { into } = await recover({ kind: 'time', at: moment(7).at });
      const after = await withServer(into, binDir, async (server) => {
        const archive = await startArchive(wal, { port: server.port, slot: 'second_life' });
        await runSql(server.uri(), 'INSERT INTO told VALUES (107)');
        const [row] = await runSql(server.uri(), now);
        await runSql(server.uri(), 'INSERT INTO told VALUES (108)');
        await archive.caughtUp((statement) => runSql(server.uri(), statement));
        await archive.stop();
        return String(row?.at);
      });
      expect((await wal.contents()).histories).toMatchObject([{ timeline: 2, ancestors: [{ timeline: 1 }] }]);
      await expectRows({ kind: 'latest' }, [...upTo(7), 107, 108]);
      await expectRows({ kind: 'time', at: after }, [...upTo(7), 107]);
      const old = await expectRows({ kind: 'time', at: moment(12).at }, upTo(12), { timeline: 1 });
      // No id of a timeline is ever given twice.
      expect(old.recovered?.timeline).toBe(3);
    },
    patienceMs,
  );
});

describe('a recovery that fails on its way', () => {
  let place: Place;
  let wal: WalPlace;
  let point: PointReader;
  beforeAll(async () => {
    place = await makePlace();
    const cluster = await makeCluster(binDirs[15]);
    wal = await makeWalPlace(place.dir);
    const archive = await startArchive(wal, { port: cluster.server.port });
    point = (await sealSource(place, cluster.source())).reader;
    await cluster.sql(
      'postgres',
      'CREATE TABLE t AS SELECT generate_series(1, 100000) AS i',
      'SELECT pg_switch_wal()',
      'INSERT INTO t VALUES (0)',
    );
    await archive.caughtUp((statement) => cluster.sql('postgres', statement));
    await archive.stop();
    await cluster.remove();
  });
  afterAll(() => place.remove());

  async function attempt(given: AbortSignal) {
    const { store, trusted, identity } = wal;
    const planned = await planPointInTime({
      store,
      source: 'cluster',
      trusted,
      points: [point.backup],
      target: { kind: 'latest' },
    });
    const into = path.join(place.dir, 'into');
    mkdirSync(into);
    const failure = await refusal(
      recoverCluster(point, { into, planned, trusted, identity, signal: given, onProgress }),
    );
    expect(readdirSync(into)).toEqual([]);
    rmSync(into, { recursive: true });
    return failure;
  }

  test('is never taken for the end of the archive: damage is named, and nothing left', async () => {
    const range = (await wal.contents()).ranges.findLast((r) => r.end - r.start > 1_000_000n);
    const file = path.join(wal.root, range?.key ?? '');
    const bytes = readFileSync(file);
    const damaged = Buffer.from(bytes);
    // In what is sealed: before it stands a signed line that is nearly as long.
    damaged[damaged.length - 10] = (damaged[damaged.length - 10] ?? 0) ^ 1;
    writeFileSync(file, damaged);
    expect(await attempt(signal)).toMatchObject({
      type: 'Corrupt',
      message: expect.stringContaining(range?.key ?? 'none'),
    });
    writeFileSync(file, bytes);
  });

  test('ends when it is aborted, and leaves nothing', async () => {
    const controller = new AbortController();
    void (async () => {
      const script = path.join(place.dir, 'into', 'wal-fetch', 'fetch.sh');
      while (!existsSync(script)) await setTimeout(5);
      controller.abort(new Error('enough'));
    })();
    expect(await attempt(controller.signal)).toMatchObject({ message: 'enough' });
  });
});
