import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Catalog, openCatalog, rebuildCatalog, verifyCatalog } from '../../engine/catalog/index.ts';
import { publishedIn } from '../../engine/catalog/published.ts';
import { createPostgresInstance, type PostgresInstance } from '../../engine/sites/index.ts';
import type { Store } from '../../engine/stores/index.ts';
import { makePoint, makeStores, prefixOf, publish, stranger, trusted } from '../engine/catalog/points.ts';

let folder: string;
let server: PostgresInstance;
let catalog: Catalog;
let databases = 0;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'catalog-pg-'));
  chmodSync(folder, 0o755);
  server = await createPostgresInstance({
    dataDir: path.join(folder, 'data'),
    password: 'pa ss:w@rd',
    settings: { fsync: 'off' },
  });
});
afterAll(async () => {
  await server?.destroy();
  rmSync(folder, { recursive: true, force: true });
});

/** An empty database for each test. */
beforeEach(async () => {
  catalog = await openCatalog({ dsn: await freshDatabase() });
  await catalog.migrate();
});
afterEach(() => catalog.close());

async function freshDatabase(): Promise<string> {
  const name = `catalog_${++databases}`;
  const client = new pg.Client(server.uri());
  await client.connect();
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  return server.uri(name);
}

const verified = (pointId: string, copy: string) => ({
  pointId,
  copy,
  state: 'verified' as const,
  bytes: 42,
  publishedAt: '2026-01-02T03:04:05.678Z',
  verifiedAt: '2026-01-02T03:04:05.678Z',
  lockedUntil: null,
  held: false,
  error: null,
});

describe('the catalog', () => {
  test('is set up by many processes at once', async () => {
    const dsn = await freshDatabase();
    const several = await Promise.all([1, 2, 3, 4].map(() => openCatalog({ dsn })));
    await Promise.all(several.map((c) => c.migrate()));
    await expect(several[0]?.points()).resolves.toEqual([]);
    await Promise.all(several.map((c) => c.close()));
  });

  test('returns a point exactly as it was recorded, however often that happened', async () => {
    const { backup, text } = makePoint({ id: 'shop-1' });
    await catalog.recordPoint(backup);
    await catalog.recordPoint(backup);
    await catalog.recordCopy(verified('shop-1', 'onsite'));
    await catalog.recordCopy(verified('shop-1', 'onsite'));
    const point = await catalog.point('shop-1');
    expect(JSON.stringify(point?.backup, null, 2)).toBe(text.trimEnd());
    expect(point?.copies).toEqual([verified('shop-1', 'onsite')]);
    expect(point?.storedBytes).toBe(backup.objects.reduce((sum, o) => sum + o.bytes, 0));
  });

  test('takes the same description in another order of keys for the same', async () => {
    const { backup } = makePoint({ id: 'shop-1', facts: { a: 1, b: 2 } });
    await catalog.recordPoint(backup);
    await expect(catalog.recordPoint({ ...backup, facts: { b: 2, a: 1 } })).resolves.toBeUndefined();
  });

  test('refuses another description under the same id', async () => {
    await catalog.recordPoint(makePoint({ id: 'shop-1' }).backup);
    await expect(catalog.recordPoint(makePoint({ id: 'shop-1', facts: { other: 1 } }).backup)).rejects.toMatchObject({
      type: 'CatalogDiffers',
    });
  });

  test('lists points newest first, by source and up to a limit', async () => {
    for (const [id, source, day] of [
      ['a-1', 'a', '01'],
      ['b-2', 'b', '02'],
      ['a-3', 'a', '03'],
    ] as const) {
      await catalog.recordPoint(makePoint({ id, source, capturedAt: `2026-01-${day}T00:00:00Z` }).backup);
    }
    const ids = async (filter?: Parameters<Catalog['points']>[0]) =>
      (await catalog.points(filter)).map((p) => p.backup.id);
    await expect(ids()).resolves.toEqual(['a-3', 'b-2', 'a-1']);
    await expect(ids({ source: 'a' })).resolves.toEqual(['a-3', 'a-1']);
    await expect(ids({ source: 'a', limit: 1 })).resolves.toEqual(['a-3']);
    await expect(catalog.point('none')).resolves.toBeNull();
  });

  test('forgets a point with its last verified copy, and not before', async () => {
    await catalog.recordPoint(makePoint({ id: 'shop-1' }).backup);
    await catalog.recordCopy(verified('shop-1', 'onsite'));
    await catalog.recordCopy(verified('shop-1', 'offsite'));
    await catalog.recordCopy({
      ...verified('shop-1', 'third'),
      state: 'failed',
      error: 'refused',
      publishedAt: null,
      verifiedAt: null,
      lockedUntil: null,
      held: false,
    });
    await catalog.forgetCopy('shop-1', 'onsite');
    await catalog.forgetCopy('shop-1', 'onsite');
    expect((await catalog.point('shop-1'))?.copies.map((c) => c.copy)).toEqual(['offsite', 'third']);
    await catalog.forgetCopy('shop-1', 'offsite');
    await expect(catalog.point('shop-1')).resolves.toBeNull();
  });

  test('refuses a copy of a point that it does not have', async () => {
    await expect(catalog.recordCopy(verified('nowhere', 'onsite'))).rejects.toMatchObject({ type: 'PointUnknown' });
  });

  test('counts an incident that happens again, and opens another after it was resolved', async () => {
    const incident = {
      key: 'backup-failed/shop',
      severity: 'critical',
      source: 'shop',
      pointId: null,
      summary: 'first',
      next: 'mend',
    } as const;
    const id = await catalog.openIncident(incident);
    await expect(catalog.openIncident({ ...incident, summary: 'second' })).resolves.toBe(id);
    await expect(catalog.incidents({ open: true })).resolves.toMatchObject([
      { id, occurrences: 2, summary: 'second', resolvedAt: null },
    ]);
    await catalog.resolveIncident(id);
    await catalog.resolveIncident(id);
    await expect(catalog.incidents({ open: true })).resolves.toEqual([]);
    const again = await catalog.openIncident(incident);
    expect(again).not.toBe(id);
    await expect(catalog.incidents()).resolves.toHaveLength(2);
    await expect(catalog.incidents({ open: false })).resolves.toMatchObject([{ id }]);
  });

  test('keeps how jobs went, newest first', async () => {
    const job = {
      workflowId: 'backup/shop/1',
      runId: 'r1',
      source: 'shop',
      pointId: 'shop-1',
      outcome: 'succeeded',
      startedAt: '2026-01-02T03:00:00.000Z',
      finishedAt: '2026-01-02T03:04:05.678Z',
      phases: [
        { name: 'seal', durationMs: 1200 },
        { name: 'upload', durationMs: 300 },
      ],
      error: null,
    } as const;
    const later = {
      ...job,
      runId: 'r2',
      outcome: 'failed',
      startedAt: '2026-01-03T00:00:00.000Z',
      pointId: null,
      error: 'no',
    } as const;
    for (const j of [job, later, later]) await catalog.recordJob({ ...j, phases: [...j.phases] });
    await expect(catalog.jobs({ source: 'shop' })).resolves.toEqual([later, job]);
    await expect(catalog.jobs({ pointId: 'shop-1' })).resolves.toEqual([job]);
    await expect(catalog.jobs({ source: 'other' })).resolves.toEqual([]);
  });
});

describe('a catalog that cannot be used', () => {
  async function failureOf(dsn: string): Promise<{ type: string; text: string }> {
    try {
      const opened = await openCatalog({ dsn });
      await opened.points().finally(() => opened.close());
    } catch (error) {
      const { type, message, next } = error as { type: string; message: string; next: string };
      return { type, text: `${message} ${next}` };
    }
    throw new Error('it was expected to fail, and did not');
  }

  test('is unreachable where no server listens', async () => {
    const free = createServer();
    await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve));
    const { port } = free.address() as { port: number };
    await new Promise((resolve) => free.close(resolve));
    const { type, text } = await failureOf(`postgresql://me:hush-hush@127.0.0.1:${port}/catalog`);
    expect(type).toBe('CatalogUnreachable');
    expect(text).toContain(`127.0.0.1:${port}/catalog`);
    expect(text).not.toContain('hush-hush');
  });

  test('is unreachable with a wrong password, which is not repeated', async () => {
    const { type, text } = await failureOf(server.uri().replace(/:[^:@]+@/, ':hush-hush@'));
    expect(type).toBe('CatalogUnreachable');
    expect(text).toContain('password is not accepted');
    expect(text).not.toContain('hush-hush');
  });

  test('is unreachable where there is no such database', async () => {
    await expect(failureOf(server.uri('nothing_here'))).resolves.toMatchObject({ type: 'CatalogUnreachable' });
  });

  test('says when it was never set up', async () => {
    const { type, text } = await failureOf(await freshDatabase());
    expect(type).toBe('CatalogDiffers');
    expect(text).toContain('has not been set up');
  });

  test('refuses a DSN that is none, without repeating it', async () => {
    const { type, text } = await failureOf('host=db password=hush-hush');
    expect(type).toBe('PolicyInvalid');
    expect(text).not.toContain('hush-hush');
  });
});

describe('rebuilding the catalog', () => {
  let place: ReturnType<typeof makeStores>;
  let stores: Store[];
  let onsite: Store;
  let offsite: Store;
  beforeEach(async () => {
    place = makeStores('onsite', 'offsite');
    stores = place.stores;
    [onsite, offsite] = stores as [Store, Store];
    for (const id of ['shop-1', 'shop-2', 'shop-3']) {
      const point = makePoint({ id, capturedAt: `2026-01-0${id.at(-1)}T00:00:00Z` });
      for (const store of stores) await publish(store, point);
    }
    // As the jobs would have recorded them.
    for (const store of stores) {
      for await (const { backup, copy } of publishedIn({ store, trusted, onProblem: () => {} })) {
        await catalog.recordPoint(backup);
        await catalog.recordCopy(copy);
      }
    }
  });
  afterEach(() => place.remove());

  test('from all stores gives exactly what was recorded', async () => {
    const before = await catalog.points();
    const lost = await openCatalog({ dsn: await freshDatabase() });
    const report = await rebuildCatalog({ catalog: lost, stores, trusted });
    expect(report).toEqual({ points: 3, copies: 6, forgotten: 0, unreachable: [], problems: [] });
    const after = await lost.points();
    await lost.close();
    expect(JSON.stringify(after)).toBe(JSON.stringify(before));
  });

  test('from any one store gives the same points, and finds their other copies', async () => {
    const before = await catalog.points();
    for (const from of ['onsite', 'offsite']) {
      const lost = await openCatalog({ dsn: await freshDatabase() });
      await rebuildCatalog({ catalog: lost, stores, trusted, from });
      const after = await lost.points();
      await lost.close();
      expect(JSON.stringify(after)).toBe(JSON.stringify(before));
    }
  });

  test('from one store while the other is away leaves out only its copies, and says so', async () => {
    rmSync(path.join(place.dir, 'onsite'), { recursive: true });
    const lost = await openCatalog({ dsn: await freshDatabase() });
    const report = await rebuildCatalog({ catalog: lost, stores, trusted, from: 'offsite' });
    const after = await lost.points();
    await lost.close();
    expect(report).toMatchObject({ points: 3, copies: 3, unreachable: ['onsite'] });
    expect(report.problems).toEqual([expect.stringContaining('onsite could not be read')]);
    expect(after.flatMap((p) => p.copies.map((c) => c.copy))).toEqual(['offsite', 'offsite', 'offsite']);
  });

  test('forgets nothing of a store that is away', async () => {
    const before = await catalog.points();
    rmSync(path.join(place.dir, 'onsite'), { recursive: true });
    await expect(rebuildCatalog({ catalog, stores, trusted })).resolves.toMatchObject({
      forgotten: 0,
      unreachable: ['onsite'],
    });
    await expect(catalog.points()).resolves.toEqual(before);
  });

  test('forgets a copy that its store no longer has, and a point that no store has', async () => {
    await onsite.delete('shop/shop-1/backup.json');
    for (const store of stores) await store.delete('shop/shop-2/backup.json');
    await expect(rebuildCatalog({ catalog, stores, trusted })).resolves.toMatchObject({
      points: 2,
      copies: 3,
      forgotten: 3,
    });
    const points = await catalog.points();
    expect(points.map((p) => [p.backup.id, p.copies.map((c) => c.copy)])).toEqual([
      ['shop-3', ['offsite', 'onsite']],
      ['shop-1', ['offsite']],
    ]);
  });

  test('follows the stores where the catalog says something else', async () => {
    const other = makePoint({ id: 'shop-1', facts: { other: 1 } });
    await catalog.replacePoint(other.backup, [verified('shop-1', 'onsite')], []);
    await rebuildCatalog({ catalog, stores, trusted });
    const point = await catalog.point('shop-1');
    expect(point?.backup.facts).not.toHaveProperty('other');
    await expect(verifyCatalog({ catalog, stores, trusted })).resolves.toEqual([]);
  });

  test('keeps incidents, jobs and attempts that failed', async () => {
    await catalog.recordCopy({
      ...verified('shop-1', 'third'),
      state: 'failed',
      error: 'refused',
      publishedAt: null,
      verifiedAt: null,
      lockedUntil: null,
      held: false,
    });
    await catalog.openIncident({ key: 'k', severity: 'warning', source: null, pointId: null, summary: 's', next: 'n' });
    await rebuildCatalog({ catalog, stores, trusted });
    await expect(catalog.incidents()).resolves.toHaveLength(1);
    expect((await catalog.point('shop-1'))?.copies.map((c) => c.copy)).toEqual(['offsite', 'onsite', 'third']);
  });

  test('names what does not count, and takes the good copy', async () => {
    await onsite.delete('shop/shop-1/artifact.bin');
    await publish(offsite, makePoint({ id: 'shop-7', signedBy: stranger }));
    const report = await rebuildCatalog({ catalog, stores, trusted });
    expect(report.problems).toEqual([
      expect.stringMatching(/onsite\/shop\/shop-1\/backup\.json does not count: .*artifact\.bin is missing/),
      expect.stringMatching(/offsite\/shop\/shop-7\/backup\.json does not count: .*not trusted/),
    ]);
    expect((await catalog.point('shop-1'))?.copies.map((c) => c.copy)).toEqual(['offsite']);
  });

  test('refuses a store that the policy does not have', async () => {
    await expect(rebuildCatalog({ catalog, stores, trusted, from: 'attic' })).rejects.toMatchObject({
      type: 'CopyUnknown',
    });
  });

  test('fails when no store can be read', async () => {
    rmSync(place.dir, { recursive: true });
    const before = await catalog.points();
    await expect(rebuildCatalog({ catalog, stores, trusted })).rejects.toMatchObject({
      type: expect.stringMatching(/^(StoreUnreachable|BucketMissing)$/),
    });
    await expect(catalog.points()).resolves.toEqual(before);
  });

  test('verification lists every difference and writes nothing', async () => {
    await expect(verifyCatalog({ catalog, stores, trusted })).resolves.toEqual([]);
    const extra = makePoint({ id: 'shop-9' });
    await publish(offsite, extra);
    await onsite.delete(`${prefixOf(makePoint({ id: 'shop-1' }))}backup.json`);
    await catalog.recordCopy({ ...verified('shop-2', 'onsite') });
    const before = await catalog.points();
    const differences = await verifyCatalog({ catalog, stores, trusted });
    expect(differences).toEqual([
      expect.stringMatching(/^shop-2: size, time, lock or hold of its copy in onsite/),
      expect.stringMatching(/^shop-9 is in offsite but not in the catalog/),
      expect.stringMatching(/^shop-1 is not in onsite, where the catalog has it/),
    ]);
    await expect(catalog.points()).resolves.toEqual(before);
  });
});
