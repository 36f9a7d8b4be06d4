import { execFileSync } from 'node:child_process';
import { appendFileSync, chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { generateIdentity } from '../../engine/artifact/index.ts';
import { createPostgresInstance, unprivilegedUser } from '../../engine/sites/index.ts';
import { findPostgres } from '../../scripts/stack/find.ts';
import { sealSource } from '../engine/sources/conformance.ts';
import { type Cluster, makeCluster, password, runSql } from '../integration/source-physical-fixture.ts';
import { handOver, makeWalPlace, startArchive, type WalPlace } from '../integration/wal-fixture.ts';
import { makeShelf, type Shelf } from './way-out-fixture.ts';

const { binDir } = await findPostgres();
let shelf: Shelf;
let cluster: Cluster;
let wal: WalPlace;
let pointId: string;
let moment: string;
/** PostgreSQL's own user can reach it. */
const dir = mkdtempSync('/tmp/way-out-wal-');
chmodSync(dir, 0o755);

beforeAll(async () => {
  shelf = await makeShelf();
  cluster = await makeCluster(binDir);
  wal = await makeWalPlace(shelf.store);
  writeFileSync(path.join(dir, 'identity.txt'), `${wal.identity}\n`);
  const archive = await startArchive(wal, { port: cluster.server.port, bundleBytes: 2 * 1024 * 1024 });
  const { point } = await sealSource(shelf.place, cluster.source());
  shelf.publish(point);
  pointId = point.id;
  await cluster.sql('postgres', 'CREATE TABLE told AS SELECT generate_series(1, 30000) AS n', 'SELECT pg_switch_wal()');
  await setTimeout(5);
  const [row] = await cluster.sql('postgres', 'SELECT clock_timestamp()::text AS at');
  moment = String(row?.at);
  await cluster.sql('postgres', 'INSERT INTO told VALUES (0)');
  await archive.caughtUp((statement) => cluster.sql('postgres', statement));
  await archive.stop();
  await cluster.server.stop();
  writeFileSync(path.join(dir, 'successor.txt'), `${await handOver(wal)}\n`);
});
afterAll(async () => {
  await cluster.remove();
  await shelf.remove();
  rmSync(dir, { recursive: true, force: true });
});

const extract = (into: string, { trusted = wal.trusted[0] ?? '', identity = 'identity.txt' } = {}) =>
  shelf.script(
    'wal',
    shelf.store,
    'cluster',
    '--identity',
    path.join(dir, identity),
    '--trusted',
    trusted,
    '--into',
    into,
  );

describe('restore.mjs', () => {
  test('writes the WAL as files with which PostgreSQL comes back to a moment, also for whom its keys were wrapped anew', async () => {
    const segments = path.join(dir, 'segments');
    const { code, stdout, stderr } = await extract(segments, { identity: 'successor.txt' });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const dataDir = path.join(dir, 'data');
    expect((await shelf.script('restore', shelf.store, pointId, ...shelf.keys, '--into', dataDir)).code).toBe(0);
    // What it printed, with the moment that is wanted.
    const printed = stdout.split('\n').flatMap((line) => /^ {4}(\w+ = .*?)( +#.*)?$/.exec(line)?.[1] ?? []);
    expect(printed.map((line) => line.split(' ')[0])).toEqual([
      'restore_command',
      'recovery_target_time',
      'recovery_target_action',
    ]);
    const settings = printed.join('\n').replace(/(?<=recovery_target_time = ')[^']*/, moment);
    appendFileSync(path.join(dataDir, 'postgresql.auto.conf'), `${settings}\n`);
    writeFileSync(path.join(dataDir, 'recovery.signal'), '');
    const user = await unprivilegedUser();
    if (user) execFileSync('chown', ['-R', `${user.uid}:${user.gid}`, segments, dataDir]);
    const server = await createPostgresInstance({ dataDir, binDir, password, settings: { fsync: 'off' } });
    try {
      // It answers once it is consistent, before it has come to the moment.
      while ((await runSql(server.uri(), 'SELECT pg_is_in_recovery() AS going'))[0]?.going) await setTimeout(20);
      expect(await runSql(server.uri(), 'SELECT count(*)::int AS n, min(n) AS first FROM told')).toEqual([
        { n: 30_000, first: 1 },
      ]);
    } finally {
      await server.destroy();
    }
  });

  test('names WAL that is damaged, missing, or of somebody else', async () => {
    const { ranges } = await wal.contents();
    const file = path.join(wal.root, ranges[1]?.key ?? '');
    const bytes = readFileSync(file);
    const damaged = Buffer.from(bytes);
    damaged[damaged.length - 50] = (damaged[damaged.length - 50] ?? 0) ^ 1;
    writeFileSync(file, damaged);
    const bad = await extract(path.join(dir, 'damaged'));
    rmSync(file);
    const missing = await extract(path.join(dir, 'missing'));
    writeFileSync(file, bytes);
    writeFileSync(path.join(dir, 'stranger.txt'), `${await generateIdentity()}\n`);
    const sealed = await extract(path.join(dir, 'sealed'), { identity: 'stranger.txt' });
    const foreign = await extract(path.join(dir, 'foreign'), { trusted: shelf.trusted });
    expect(bad.code).toBe(9);
    expect(bad.stderr).toContain(`${ranges[1]?.key} is damaged`);
    expect(bad.stderr).toMatch(/missing: \d+ bytes of timeline 00000001/);
    expect(missing.code).toBe(9);
    expect(missing.stderr).toMatch(/^missing: \d+ bytes of timeline 00000001, from byte \d+ on$/m);
    expect(sealed.stderr).toMatch(/does not open: it is sealed for age1\w+, age1\w+\./);
    expect(foreign.stderr).toContain('which you did not name as trusted');
    expect((await shelf.script('wal', shelf.store, 'nobody', '--into', path.join(dir, 'nobody'))).code).toBe(3);
  });
});
