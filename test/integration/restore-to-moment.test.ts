import { existsSync, mkdtempSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { createRecoveryActivities } from '../../activities/recovery.ts';
import { signBackupJson } from '../../engine/artifact/index.ts';
import { type Catalog, openCatalog, rebuildCatalog } from '../../engine/catalog/index.ts';
import { parseMoment } from '../../policies/moment.ts';
import { policySchema } from '../../policies/policy.ts';
import { backupJsonName } from '../../policies/recovery-point.ts';
import type { RestoreInput } from '../../workflows/contracts.ts';
import { makePlace, type Place } from '../engine/artifact/sealing.ts';
import { sealSource } from '../engine/sources/conformance.ts';
import { makeDatabase, type TestDatabase } from '../support/services.ts';
import { makeCluster, runSql, usePostgresBinDirs, withServer } from './source-physical-fixture.ts';
import { makeWalPlace, startArchive, type WalPlace } from './wal-fixture.ts';

const binDirs = await usePostgresBinDirs();

let place: Place;
let wal: WalPlace;
let database: TestDatabase;
let catalog: Catalog;
let recovery: ReturnType<typeof createRecoveryActivities>;
let moment: string;
let pointId: string;
const activities = new MockActivityEnvironment();

/** As a worker runs it. */
const run = <A, R>(activity: (input: A) => Promise<R>, input: A, worker = activities): Promise<R> =>
  worker.run(activity, input) as Promise<R>;

beforeAll(async () => {
  place = await makePlace();
  wal = await makeWalPlace(place.dir);
  const cluster = await makeCluster(binDirs[15]);
  const archive = await startArchive(wal, { port: cluster.server.port });
  const sealed = await sealSource({ ...place, recipient: wal.recipient, identity: wal.identity }, cluster.source());
  const { point } = sealed;
  pointId = point.id;
  const validation = { finishedAt: point.sealedAt, passed: true, checks: [] };
  writeFileSync(path.join(sealed.dir, backupJsonName), signBackupJson({ ...point, validation }, wal.signingKey));
  await cluster.sql('postgres', 'CREATE TABLE told AS SELECT 1 AS n');
  await setTimeout(5);
  moment = new Date((await cluster.sql('postgres', 'SELECT clock_timestamp() AS at'))[0]?.at as Date).toISOString();
  await setTimeout(5);
  await cluster.sql('postgres', 'INSERT INTO told VALUES (2)');
  await archive.caughtUp((statement) => cluster.sql('postgres', statement));
  await archive.stop();

  const policy = policySchema.parse({
    version: 1,
    site: { region: 'here' },
    catalog: { dsn: 'env:DSN' },
    keys: { recipients: [wal.recipient], signing: 'env:SIGNING', trusted: wal.trusted, identity: 'env:IDENTITY' },
    staging: { path: '/nowhere' },
    sources: [{ name: 'cluster', kind: 'postgres-physical', connection: { host: 'x', user: 'x' } }],
    copies: [
      { name: 'without', kind: 'directory', region: 'here', path: '/nowhere/a' },
      { name: 'shelf', kind: 'directory', region: 'there', path: place.dir },
    ],
  });
  database = await makeDatabase();
  catalog = await openCatalog({ dsn: database.uri });
  await catalog.migrate();
  const shelf = { ...wal.store, name: 'shelf' };
  await rebuildCatalog({ catalog, stores: [shelf], trusted: wal.trusted });
  const empty = (await makeWalPlace(path.join(place.dir, 'empty'))).store;
  recovery = createRecoveryActivities({
    policy,
    catalog,
    store: async (name) => (name === 'shelf' ? shelf : empty),
    source: async () => cluster.source(),
    identity: async () => wal.identity,
    resolveSecret: async () => '',
  });
  await cluster.remove();
});
afterAll(async () => {
  await catalog.close();
  await database.drop();
  await place.remove();
});

const asked = (to: string, into = '/nowhere'): RestoreInput => ({
  source: 'cluster',
  into: { directory: into },
  to: parseMoment(to),
  operator: 'ann',
  reason: 'a test',
});

async function recovered(to: string) {
  const into = path.join(mkdtempSync(path.join(place.dir, 'into-')), 'data');
  const input = asked(to, into);
  const located = await run(recovery.locatePoint, input);
  const result = await run(recovery.restorePoint, { ...input, ...located });
  const rows = await withServer(into, binDirs[15], (server) => runSql(server.uri(), 'SELECT n FROM told ORDER BY n'));
  return { result, rows: rows.map((row) => row.n), into, located };
}

describe('a restore to a moment', () => {
  test('begins with the base backup and the copy that lead there, and says where it ended', async () => {
    const { result, rows, located } = await recovered(moment);
    expect(located).toEqual({ pointId, from: 'shelf' });
    expect(rows).toEqual([1]);
    expect(result).toMatchObject({
      pointId,
      from: 'shelf',
      recovered: { timeline: 2, lsn: expect.stringMatching(/^0\//) },
    });
    expect(String(result.recovered?.lastTransactionAt) <= moment).toBe(true);
    expect((await recovered('latest')).rows).toEqual([1, 2]);
  }, 300_000);

  test('that has ended, of which nobody heard, is not begun again; its folder is unmarked when it is kept', async () => {
    const { result, into, located } = await recovered(moment);
    const input = asked(moment, into);
    // A server has been at it since.
    expect(await run(recovery.restorePoint, { ...input, ...located })).toEqual(result);
    const marked = () => readdirSync(into).filter((name) => name.startsWith('.restoring-'));
    expect(marked()).toHaveLength(1);
    for (const _ of [1, 2]) await run(recovery.keepRestore, input);
    expect(marked()).toEqual([]);
    await expect(run(recovery.restorePoint, { ...input, ...located })).rejects.toMatchObject({
      type: 'TargetNotEmpty',
    });
  }, 300_000);

  test('is refused before anything is written, with the nearest that can be reached', async () => {
    const refused = run(recovery.locatePoint, asked('2099-01-01T00:00:00Z'));
    await expect(refused).rejects.toMatchObject({ type: 'PointUnknown' });
    await expect(run(recovery.locatePoint, { ...asked('latest'), from: 'without' })).rejects.toMatchObject({
      type: 'PointUnknown',
    });
  });

  test('that was killed on its way is taken up by its next attempt', async () => {
    const into = path.join(mkdtempSync(path.join(place.dir, 'into-')), 'data');
    const input = asked('latest', into);
    const located = await run(recovery.locatePoint, input);
    // What an attempt leaves that is killed while the server recovers: an attempt that is aborted, its removal undone.
    const controller = new MockActivityEnvironment();
    const running = run(recovery.restorePoint, { ...input, ...located }, controller);
    running.catch(() => {});
    while (!existsSync(path.join(into, 'wal-fetch', 'fetch.sh'))) await setTimeout(5);
    const aside = `${into}.aside`;
    renameSync(into, aside);
    controller.cancel();
    await expect(running).rejects.toThrow();
    renameSync(aside, into);
    const result = await run(recovery.restorePoint, { ...input, ...located });
    expect(result.recovered?.timeline).toBe(2);
    expect(existsSync(path.join(into, 'wal-fetch'))).toBe(false);
  }, 300_000);
});
