import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readWalHeader } from '../../engine/artifact/index.ts';
import { createPostgresInstance, unprivilegedUser } from '../../engine/sites/index.ts';
import { connect, replicationOf } from '../../engine/sources/postgres/connection.ts';
import { createWalFetcher } from '../../engine/sources/wal/fetch.ts';
import { dropSlot, ensureSlot, limitSlot, slotState } from '../../engine/sources/wal/slot.ts';
import { postgresPhysicalSource } from '../../policies/policy.ts';
import { lsnOf, lsnText, segmentName } from '../../policies/wal.ts';
import type { WalRangeHeader } from '../../policies/wal-bundle.ts';
import { eventually } from '../support/eventually.ts';
import { type Cluster, makeCluster, password, runSql, usePostgresBinDirs } from './source-physical-fixture.ts';
import { makeWalPlace, startArchive, verified, type WalPlace } from './wal-fixture.ts';

const binDirs = await usePostgresBinDirs();
const segmentBytes = 16 * 1024 * 1024;

async function headersOf(wal: WalPlace): Promise<WalRangeHeader[]> {
  const { ranges } = await wal.contents();
  const headers: WalRangeHeader[] = [];
  for (const { key } of ranges) {
    const { header } = await readWalHeader({ store: wal.store, source: 'cluster', key, trusted: wal.trusted });
    if (header.kind === 'range') headers.push(header);
  }
  return headers;
}

async function fetcherOf(wal: WalPlace) {
  const { store, trusted, identity } = wal;
  return createWalFetcher({
    store,
    source: 'cluster',
    trusted,
    identity,
    segmentBytes,
    contents: await wal.contents(),
  });
}

describe.each(Object.entries(binDirs))('the WAL of PostgreSQL %s', (_version, binDir) => {
  let cluster: Cluster;
  let wal: WalPlace;
  beforeAll(async () => {
    cluster = await makeCluster(binDir, { checkpoint_timeout: '1h', max_prepared_transactions: '5' });
    wal = await makeWalPlace(path.join(cluster.dir, 'archive'));
  });
  afterAll(() => cluster.remove());

  test('is archived byte for byte, also when archiving was interrupted', async () => {
    const first = await startArchive(wal, { port: cluster.server.port, bundleBytes: 3 * 1024 * 1024 });
    await cluster.sql(
      'postgres',
      'CREATE TABLE t (i int, a text)',
      `INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 50000) i`,
      `SELECT pg_create_restore_point('first')`,
    );
    await first.caughtUp((statement) => cluster.sql('postgres', statement));
    await first.stop();
    await cluster.sql('postgres', 'SELECT pg_switch_wal()', 'DELETE FROM t WHERE i % 3 = 0');
    const second = await startArchive(wal, { port: cluster.server.port });
    await cluster.sql(
      'postgres',
      'BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; INSERT INTO t VALUES (2); ROLLBACK',
      `BEGIN; INSERT INTO t VALUES (3); PREPARE TRANSACTION 'two phases'`,
      `COMMIT PREPARED 'two phases'`,
      `SELECT pg_create_restore_point('second, with é')`,
      // Larger than a page, so that records go over several.
      `SELECT pg_logical_emit_message(true, 'x', repeat('y', 100000))`,
    );
    await second.caughtUp((statement) => cluster.sql('postgres', statement));
    await second.stop();
    expect(await verified(wal)).toMatchObject({ gaps: [], problems: [] });
    const { ranges } = await wal.contents();
    for (const [i, range] of ranges.entries()) if (i > 0) expect(range.start).toBe(ranges[i - 1]?.end);
    expect(ranges.filter((r) => r.end - r.start >= 3 * 1024 * 1024).length).toBeGreaterThan(1);

    const fetcher = await fetcherOf(wal);
    const folder = path.join(cluster.server.dataDir, 'pg_wal');
    let compared = 0;
    for (const name of readdirSync(folder).filter((n) => /^[0-9A-F]{24}$/.test(n))) {
      const segment = await fetcher.segment(name);
      if (!segment) continue;
      const there = readFileSync(path.join(folder, name)).subarray(0, segment.covered);
      expect(segment.bytes.subarray(0, segment.covered).equals(there)).toBe(true);
      expect(segment.bytes).toHaveLength(segmentBytes);
      compared += segment.covered;
    }
    expect(compared).toBeGreaterThan(segmentBytes);
  });

  test('is described as pg_waldump describes it', async () => {
    const dir = path.join(cluster.dir, 'segments');
    mkdirSync(dir);
    const fetcher = await fetcherOf(wal);
    const { ranges } = await wal.contents();
    const [from, to] = [ranges[0]?.start ?? 0n, ranges.at(-1)?.end ?? 0n];
    for (let at = from; at < to; at += BigInt(segmentBytes)) {
      const name = segmentName(1, at, segmentBytes);
      writeFileSync(path.join(dir, name), (await fetcher.segment(name))?.bytes ?? '');
    }
    const dump = (...args: string[]) =>
      spawnSync(path.join(binDir, 'pg_waldump'), ['-p', dir, '-s', lsnText(from), ...args], {
        encoding: 'utf8',
        maxBuffer: 64 * 1024 * 1024,
        env: { PATH: process.env.PATH, TZ: 'UTC', LC_ALL: 'C' },
      }).stdout.split('\n');
    const ends = dump('--rmgr=Transaction').filter((line) => /desc: (COMMIT|ABORT)/.test(line));
    const points = dump('--rmgr=XLOG').flatMap((line) => /lsn: (\S+),.*RESTORE_POINT (.*)$/.exec(line)?.slice(1) ?? []);
    const xids = ends.map((line) => Number(/tx:\s+(\d+)/.exec(line)?.[1])).filter((xid) => xid > 0);
    const times = ends
      .map((line) => Date.parse(`${/(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) UTC/.exec(line)?.[1]}Z`))
      .sort();
    const headers = await headersOf(wal);
    expect(headers.reduce((sum, h) => sum + h.transactions.count, 0)).toBe(ends.length);
    expect(Math.min(...headers.flatMap((h) => h.transactions.xids?.min ?? []))).toBe(Math.min(...xids));
    expect(Math.max(...headers.flatMap((h) => h.transactions.xids?.max ?? []))).toBe(Math.max(...xids));
    expect(headers.flatMap((h) => h.transactions.firstAt ?? []).sort()[0]).toBe(
      new Date(Math.floor(times[0] ?? 0)).toISOString(),
    );
    expect(
      headers
        .flatMap((h) => h.transactions.lastAt ?? [])
        .sort()
        .at(-1),
    ).toBe(new Date(Math.floor(times.at(-1) ?? 0)).toISOString());
    expect(headers.flatMap((h) => h.restorePoints.flatMap((p) => [p.lsn, p.name]))).toEqual(
      points.map((text, i) => (i % 2 === 0 ? plainLsn(text) : text)),
    );
    expect(points).toHaveLength(4);
    for (const { until, endLsn, startLsn } of headers) {
      expect(Date.parse(until)).toBeGreaterThan(0);
      expect(lsnOf(endLsn)).toBeGreaterThanOrEqual(lsnOf(startLsn));
    }
  });
});

/** pg_waldump pads the second half with zeros. */
function plainLsn(text: string): string {
  return lsnText(lsnOf(text));
}
describe('archiving', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await makeCluster(binDirs[15], {
      wal_keep_size: '0',
      min_wal_size: '32MB',
      max_wal_size: '32MB',
      checkpoint_timeout: '1h',
    });
  });
  afterAll(() => cluster.remove());
  let serial = 0;
  const place = () => makeWalPlace(path.join(cluster.dir, `archive-${++serial}`));
  const sql = (statement: string) => cluster.sql('postgres', statement);

  async function replication() {
    const policy = postgresPhysicalSource.parse({
      name: 'cluster',
      kind: 'postgres-physical',
      connection: { host: '127.0.0.1', port: cluster.server.port, user: 'saver', password: 'env:X' },
    });
    return connect(await replicationOf(policy, async () => password), 'cluster');
  }

  test('proves on a quiet server that nothing was lost, without a byte of WAL', async () => {
    const wal = await place();
    const running = await startArchive(wal, { port: cluster.server.port, slot: 'quiet', idleMs: 1000 });
    await sql('CREATE TABLE quiet AS SELECT 1 AS a');
    await sql('CHECKPOINT');
    await running.caughtUp(sql);
    for (let empty = 0; empty < 2; empty = (await wal.contents()).ranges.filter((r) => r.start === r.end).length) {
      await setTimeout(100);
    }
    await running.stop();
    const { ranges } = await wal.contents();
    const times = ranges.toSorted((a, b) => (a.until < b.until ? -1 : 1)).map((r) => r.end);
    expect(times).toEqual(times.toSorted((a, b) => Number(a - b)));
    expect(await verified(wal)).toMatchObject({ gaps: [], problems: [] });
  });

  test('lets the server forget only what is said to be safe', async () => {
    const wal = await place();
    let safe = 0n;
    const running = await startArchive(wal, { port: cluster.server.port, slot: 'kept', safe: () => safe });
    // Its slot is there, and keeps what is written from now on.
    await running.caughtUp(sql);
    await sql('SELECT pg_logical_emit_message(true, $$x$$, repeat($$y$$, 1000000)) FROM generate_series(1, 20)');
    await running.caughtUp(sql);
    const client = await replication();
    expect((await slotState(client, 'kept')).keptBytes).toBeGreaterThan(20_000_000);
    safe = (await wal.contents()).ranges.at(-1)?.end ?? 0n;
    await eventually(async () => {
      expect((await slotState(client, 'kept')).keptBytes).toBeLessThan(1_000_000);
    }, 60_000);
    await running.stop();
    // The server takes a moment to notice that the other end is gone.
    await dropSlot(client, 'kept');
    await dropSlot(client, 'kept');
    expect(await slotState(client, 'kept')).toEqual({ keptBytes: null });
    await client.end();
  });

  test('does not let a slot that nobody reads fill the disk', async () => {
    const client = await replication();
    await ensureSlot(client, 'forgotten', 'cluster');
    await sql('SELECT pg_logical_emit_message(true, $$x$$, repeat($$y$$, 1000000)) FROM generate_series(1, 20)');
    expect(await limitSlot(client, 'forgotten', 1_000_000_000)).toMatchObject({ dropped: false });
    const limited = await limitSlot(client, 'forgotten', 10_000_000);
    expect(limited).toEqual({ dropped: true, keptBytes: expect.any(Number) });
    expect(limited.keptBytes).toBeGreaterThan(20_000_000);
    expect(await limitSlot(client, 'forgotten', 10_000_000)).toEqual({ dropped: false, keptBytes: null });
    await client.end();
  });

  test('is done by one at a time; the other one may try again', async () => {
    const wal = await place();
    const running = await startArchive(wal, { port: cluster.server.port, slot: 'contested' });
    await running.caughtUp(sql);
    const other = await startArchive(await place(), { port: cluster.server.port, slot: 'contested' });
    expect(await other.ended).toMatchObject({
      type: 'SourceUnreachable',
      retryable: true,
      message: expect.stringContaining('contested'),
    });
    await running.stop();
  });

  test('says when the server has removed what comes next: only a new base backup helps', async () => {
    const wal = await place();
    const running = await startArchive(wal, { port: cluster.server.port, slot: 'lost' });
    await running.caughtUp(sql);
    await running.stop();
    const client = await replication();
    for (const slot of ['lost', 'quiet', 'contested']) await dropSlot(client, slot);
    await client.end();
    for (let i = 0; i < 6; i++) {
      await sql('SELECT pg_logical_emit_message(true, $$x$$, repeat($$y$$, 1000000)) FROM generate_series(1, 20)');
      await sql('SELECT pg_switch_wal()');
      await sql('CHECKPOINT');
    }
    const again = await startArchive(wal, { port: cluster.server.port, slot: 'lost' });
    const error = await again.ended;
    expect(error).toMatchObject({
      type: 'ChainBroken',
      retryable: false,
      next: expect.stringContaining('new base backup'),
    });
  });

  test('ends within itself when it is aborted, and leaves nothing half done', async () => {
    const wal = await place();
    const running = await startArchive(wal, { port: cluster.server.port, slot: 'aborted', bundleMs: 3_600_000 });
    await sql('SELECT pg_logical_emit_message(true, $$x$$, repeat($$y$$, 1000000)) FROM generate_series(1, 20)');
    const unsealed = () => (existsSync(path.join(wal.root, '.wal')) ? readdirSync(path.join(wal.root, '.wal')) : []);
    while (unsealed().length === 0) await setTimeout(50);
    await running.stop();
    expect(unsealed()).toEqual([]);
    expect((await wal.contents()).ranges).toEqual([]);
  });
});

describe('a failover', () => {
  test('is followed onto the new timeline, with what the old one had left', async () => {
    const primary = await makeCluster(binDirs[15]);
    const dataDir = path.join(primary.dir, 'standby');
    execFileSync(
      path.join(binDirs[15], 'pg_basebackup'),
      [
        '-D',
        dataDir,
        '-R',
        '-c',
        'fast',
        '-X',
        'stream',
        '-d',
        `host=127.0.0.1 port=${primary.server.port} user=postgres`,
      ],
      { env: { PATH: process.env.PATH, PGPASSWORD: password } },
    );
    const user = await unprivilegedUser();
    if (user) execFileSync('chown', ['-R', `${user.uid}:${user.gid}`, dataDir]);
    const standby = await createPostgresInstance({
      dataDir,
      binDir: binDirs[15],
      password,
      settings: { fsync: 'off' },
    });
    const wal = await makeWalPlace(path.join(primary.dir, 'archive'));
    try {
      const before = await startArchive(wal, { port: primary.server.port });
      await primary.sql('postgres', 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS i');
      await before.caughtUp((statement) => primary.sql('postgres', statement));
      await before.stop();
      const [row] = await primary.sql(
        'postgres',
        'INSERT INTO t VALUES (0)',
        'SELECT pg_current_wal_flush_lsn()::text AS lsn',
      );
      const replayed = `SELECT pg_last_wal_replay_lsn() >= '${row?.lsn}' AS done`;
      while (!(await runSql(standby.uri(), replayed))[0]?.done) await setTimeout(50);
      await primary.server.stop();
      await runSql(standby.uri(), 'SELECT pg_promote()');
      const after = await startArchive(wal, { port: standby.port });
      await runSql(standby.uri(), 'INSERT INTO t VALUES (-1)');
      await after.caughtUp((statement) => runSql(standby.uri(), statement));
      await after.stop();
      const { ranges, histories } = await wal.contents();
      expect(histories).toMatchObject([{ timeline: 2, ancestors: [{ timeline: 1 }] }]);
      expect(new Set(ranges.map((r) => r.timeline))).toEqual(new Set([1, 2]));
      const left = histories[0]?.ancestors[0]?.until;
      expect(ranges.filter((r) => r.timeline === 1).at(-1)?.end).toBe(left);
      expect(await verified(wal)).toMatchObject({ gaps: [], problems: [] });
      const fetcher = await fetcherOf(wal);
      expect((await fetcher.history('00000002.history'))?.toString()).toMatch(/^1\t/m);
      expect(await fetcher.history('00000003.history')).toBeNull();
    } finally {
      await standby.stop();
      await primary.remove();
    }
  });
});
