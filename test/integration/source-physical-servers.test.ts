import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createPostgresInstance, unprivilegedUser } from '../../engine/sites/index.ts';
import { makePlace, type Place } from '../engine/artifact/sealing.ts';
import { sealSource } from '../engine/sources/conformance.ts';
import {
  allGoods,
  fillCluster,
  makeCluster,
  password,
  runSql,
  usePostgresBinDirs,
  withServer,
} from './source-physical-fixture.ts';

const binDirs = await usePostgresBinDirs();
const signal = new AbortController().signal;
const onProgress = () => {};

let place: Place;
beforeAll(async () => {
  place = await makePlace();
});
afterAll(() => place.remove());

describe('a cluster that is written to meanwhile', () => {
  test('comes back as it was at one moment', async () => {
    const cluster = await makeCluster(binDirs[15], { max_wal_size: '64MB' });
    await cluster.sql(
      'postgres',
      'CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL) WITH (fillfactor = 20)',
      'INSERT INTO account SELECT i, 100 FROM generate_series(1, 20000) i',
    );
    let go = true;
    let moved = 0;
    const movers = [1, 2].map(async () => {
      while (go) {
        const [from, to] = [Math.ceil(Math.random() * 20_000), Math.ceil(Math.random() * 20_000)];
        await cluster.sql(
          'postgres',
          `UPDATE account SET balance = balance + CASE id WHEN ${from} THEN -1 ELSE 1 END WHERE id IN (${from}, ${to}) AND ${from} <> ${to}`,
        );
        moved++;
      }
    });
    const sealed = await sealSource(place, cluster.source(), signal, (writer) => ({
      ...writer,
      async frame(pieces) {
        // As slow as a slow disk: much is written between one file and the next.
        const before = moved;
        while (moved < before + 5) await new Promise((resolve) => setImmediate(resolve));
        return writer.frame(pieces);
      },
    }));
    go = false;
    await Promise.all(movers);
    const into = path.join(cluster.dir, 'restored');
    await cluster.source().restore(sealed.reader, { into, signal, onProgress });
    await withServer(into, binDirs[15], async (server) => {
      const [row] = await runSql(
        server.uri(),
        'SELECT count(*)::int AS n, sum(balance)::int AS sum, count(*) FILTER (WHERE balance <> 100)::int AS moved FROM account',
      );
      expect(row).toMatchObject({ n: 20_000, sum: 2_000_000 });
      expect(row?.moved).toBeGreaterThan(0);
    });
    await cluster.remove();
  });
});

describe('a standby', () => {
  test.each(Object.entries(binDirs))(
    'of PostgreSQL %s is backed up like its primary, and comes back as a primary',
    async (_version, binDir) => {
      const primary = await makeCluster(binDir);
      await fillCluster(primary);
      const dataDir = path.join(primary.dir, 'standby');
      const uri = new URL(primary.server.uri());
      const user = await unprivilegedUser();
      const moved = path.join(primary.dir, 'standby disk');
      execFileSync(
        path.join(binDir, 'pg_basebackup'),
        [
          '-D',
          dataDir,
          '-R',
          '-c',
          'fast',
          '-X',
          'stream',
          '-T',
          `${primary.tablespace}=${moved}`,
          '-d',
          `host=${uri.hostname} port=${uri.port} user=postgres`,
        ],
        { env: { PATH: process.env.PATH, PGPASSWORD: password } },
      );
      if (user) for (const dir of [dataDir, moved]) execFileSync('chown', ['-R', `${user.uid}:${user.gid}`, dir]);
      const standby = await createPostgresInstance({ dataDir, binDir, password, settings: { fsync: 'off' } });
      try {
        const source = primary.source({ connection: { port: standby.port } });
        const sealed = await sealSource(place, source);
        expect(sealed.point.facts).toMatchObject({ standby: true, timeline: 1 });
        const workDir = mkdtempSync(path.join(primary.dir, 'work-'));
        expect(await source.testRestore(sealed.reader, { workDir, signal, onProgress })).toMatchObject([
          { check: 'restore_test', passed: true },
          { check: 'content', passed: true },
        ]);
        const into = path.join(primary.dir, 'restored');
        await source.restore(sealed.reader, { into, signal, onProgress });
        expect(existsSync(path.join(into, 'standby.signal'))).toBe(false);
        await withServer(into, binDir, async (server) => {
          expect(await runSql(server.uri(), 'SELECT pg_is_in_recovery() AS standby')).toEqual([{ standby: false }]);
          expect(await runSql(server.uri('Shop é'), allGoods)).toEqual(await primary.sql('Shop é', allGoods));
        });
      } finally {
        await standby.stop();
        await primary.remove();
      }
    },
  );
});
