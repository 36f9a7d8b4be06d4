import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Catalog, openCatalog } from '../../engine/catalog/index.ts';
import { makePoint } from '../engine/catalog/points.ts';
import { eventually } from '../support/eventually.ts';
import { makeDatabase, services } from '../support/services.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

let database: Awaited<ReturnType<typeof makeDatabase>>;
let line: TcpProxy;
let catalog: Catalog;
beforeAll(async () => {
  const { postgres } = await services();
  database = await makeDatabase();
  line = await startTcpProxy(postgres.port);
  const dsn = new URL(database.uri);
  dsn.port = String(line.port);
  catalog = await openCatalog({ dsn: dsn.href, silentMaxMs: 1_000 });
  const direct = await openCatalog({ dsn: database.uri });
  await direct.migrate();
  await direct.close();
});
afterAll(async () => {
  await catalog?.close();
  await line?.stop();
  await database?.drop();
});

const { backup } = makePoint({ id: 'shop-20260102T030405Z-aaaa' });
const tooLate = { type: 'CatalogUnreachable', message: expect.stringContaining('it does not answer in time') };

describe('a catalog that takes what it is asked and does not answer', () => {
  test('is unreachable, by connections that are open and by new ones, until it answers', async () => {
    await catalog.points();
    line.set('mute');
    await expect(catalog.points()).rejects.toMatchObject(tooLate);
    await expect(catalog.points()).rejects.toMatchObject({ type: 'CatalogUnreachable' });
    line.set('up');
    await catalog.replacePoint(backup, [], []);
    expect((await catalog.points()).map((p) => p.backup.id)).toEqual([backup.id]);
  });

  test('is not left with what nobody waits for any more', async () => {
    // Within a transaction the server always shows the same sessions.
    const [other, looking] = [new pg.Client(database.uri), new pg.Client(database.uri)];
    await other.connect();
    await looking.connect();
    try {
      await other.query('BEGIN');
      await other.query('LOCK TABLE backup_coordinator.points');
      await expect(catalog.replacePoint(backup, [], [])).rejects.toMatchObject(tooLate);
      await eventually(async () => {
        const { rows } = await looking.query(
          `SELECT query FROM pg_stat_activity
           WHERE datname = current_database() AND application_name = 'backup-coordinator' AND state <> 'idle'`,
        );
        expect(rows).toEqual([]);
      });
    } finally {
      await other.end();
      await looking.end();
    }
  });
});
