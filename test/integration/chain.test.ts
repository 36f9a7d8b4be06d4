import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { BackupJson } from '../../policies/recovery-point.ts';
import { loginPasswords } from '../../scripts/embedded-policy.ts';
import { ensureBackupLogin } from '../../scripts/stack/database.ts';
import { findPostgres } from '../../scripts/stack/find.ts';
import type { BackupResult, RestoreResult } from '../../workflows/contracts.ts';
import { noise } from '../engine/artifact/sealing.ts';
import { startWhole, type Whole } from '../support/whole.ts';

/** Chains by the whole job: real workers, each with its own rights, and real stores. */

const MiB = 1024 * 1024;
let whole: Whole;
let tree: string;
const made: Record<'full' | 'incremental' | 'differential', BackupResult | null> = {
  full: null,
  incremental: null,
  differential: null,
};
beforeAll(async () => {
  whole = await startWhole({
    before: async ({ dataDir, postgres }) => {
      await ensureBackupLogin(postgres.uri(), (await loginPasswords(dataDir)).backup, []);
      tree = path.join(dataDir, 'tree');
      await mkdir(path.join(tree, 'below'), { recursive: true });
      await writeFile(path.join(tree, 'below', 'large'), noise(8 * MiB));
      await writeFile(path.join(tree, 'note'), 'first');
    },
    sources: ({ dataDir, postgres: { host, port } }) => [
      { name: 'tree', kind: 'files', path: path.join(dataDir, 'tree') },
      {
        name: 'cluster',
        kind: 'postgres-physical',
        connection: {
          host,
          port,
          user: 'backup',
          password: `file:${path.join(dataDir, 'secrets', 'backup-password')}`,
        },
      },
    ],
  });
}, 300_000);
afterAll(() => whole?.stop());

const backUp = (level: string, source = 'tree') =>
  whole.backupctl<BackupResult>('backup', 'run', source, '--level', level, '--wait');
interface Shown {
  backup: BackupJson;
  chain: { id: string; level: string }[] | string;
}
const show = (point: BackupResult | null) => whole.backupctl<Shown>('backup', 'show', point?.pointId ?? '');

async function restored(point: BackupResult | null, from: string, source = 'tree'): Promise<string> {
  const into = path.join(whole.dataDir, 'restored', `${point?.pointId}-${from}`);
  const person = ['--operator', 'ann', '--reason', 'to see it'];
  const to = ['--point', point?.pointId ?? '', '--from', from, '--into', into];
  await whole.backupctl<RestoreResult>('restore', source, ...to, ...person, '--wait');
  return into;
}

describe('backups of a tree', () => {
  test('are full the first time, whatever level is asked for, and say why', async () => {
    made.full = await backUp('incremental');
    expect(made.full).toMatchObject({ level: 'full', outcome: 'succeeded' });
    expect(made.full.warnings).toEqual([expect.stringContaining('the source has no point yet')]);
  }, 300_000);

  test('store what has changed since the last point, or since the last full one', async () => {
    await writeFile(path.join(tree, 'note'), 'second');
    made.incremental = await backUp('incremental');
    await writeFile(path.join(tree, 'other'), noise(1000));
    made.differential = await backUp('differential');
    expect(made).toMatchObject({
      incremental: { level: 'incremental', outcome: 'succeeded', checksPassed: 5, warnings: [] },
      differential: { level: 'differential', outcome: 'succeeded', checksPassed: 5, warnings: [] },
    });
    expect(made.incremental.storedBytes).toBeLessThan(10_000);
    expect(made.incremental.sourceBytes).toBe(8 * MiB + 'second'.length);
    expect((await show(made.incremental)).chain).toEqual([
      { id: made.incremental.pointId, level: 'incremental' },
      { id: made.full?.pointId, level: 'full' },
    ]);
    expect((await show(made.differential)).backup.parent).toBe(made.full?.pointId);
  }, 300_000);

  test('come back from every copy, each as it was', async () => {
    const { copies } = whole.policy;
    for (const { name } of copies) {
      const into = await restored(made.incremental, name);
      expect(await readFile(path.join(into, 'note'), 'utf8')).toBe('second');
      expect((await readFile(path.join(into, 'below', 'large'))).equals(noise(8 * MiB))).toBe(true);
      expect(await readdir(into)).toEqual(['below', 'note']);
    }
    const into = await restored(made.differential, copies[0]?.name ?? '');
    expect((await readFile(path.join(into, 'other'))).equals(noise(1000))).toBe(true);
    const { verified } = await whole.backupctl<{ verified: { good: boolean }[] }>(
      ...['backup', 'verify', made.differential?.pointId ?? ''],
    );
    expect(verified.map((v) => v.good)).toEqual(copies.map(() => true));
  }, 300_000);

  test('are full when the host has kept nothing to compare with, or something else, and say so', async () => {
    const kept = path.join(whole.policy.staging.path, '.references', 'tree');
    expect((await stat(kept)).mode & 0o777).toBe(0o700);
    expect((await readdir(kept)).sort()).toEqual(
      [made.full, made.incremental, made.differential].map((m) => m?.pointId).sort(),
    );
    await rm(kept, { recursive: true });
    const result = await backUp('incremental');
    expect(result).toMatchObject({ level: 'full', outcome: 'succeeded' });
    expect(result.warnings).toEqual([expect.stringContaining('this host has kept nothing to compare with')]);
    expect((await show(result)).backup).toMatchObject({ level: 'full', parent: null });
  }, 300_000);
});

test('backups of a cluster store the pages that have changed, and come back whole from every copy', async () => {
  const full = await backUp('differential', 'cluster');
  expect(full).toMatchObject({ level: 'full', outcome: 'succeeded' });
  const differential = await backUp('differential', 'cluster');
  const incremental = await backUp('incremental', 'cluster');
  expect([differential, incremental]).toMatchObject([
    { level: 'differential', outcome: 'succeeded', checksPassed: 5, warnings: [] },
    { level: 'incremental', outcome: 'succeeded', checksPassed: 5, warnings: [] },
  ]);
  expect(incremental.storedBytes).toBeLessThan(full.storedBytes / 2);
  expect((await show(incremental)).chain).toMatchObject(
    [incremental, differential, full].map((point) => ({ id: point.pointId })),
  );
  const { binDir } = await findPostgres();
  for (const { name } of whole.policy.copies) {
    const into = await restored(incremental, name, 'cluster');
    await promisify(execFile)(path.join(binDir, 'pg_verifybackup'), ['--quiet', into]);
  }
}, 600_000);

test('a rebuilt catalog names the points that lack, in a copy, what they need; none is restored from there', async () => {
  const local = whole.policy.copies.find((c) => c.kind === 'directory');
  if (local?.kind !== 'directory') throw new Error('no copy is a folder');
  const folder = path.join(local.path, 'tree', made.full?.pointId ?? '');
  await rename(folder, path.join(whole.dataDir, 'away'));
  const report = await whole.backupctl<{ problems: string[] }>('catalog', 'rebuild', '--all');
  const { incremental } = made;
  expect(report.problems).toContainEqual(
    expect.stringContaining(`${incremental?.pointId} cannot be restored from ${local.name}: ${made.full?.pointId}`),
  );
  await expect(restored(incremental, local.name)).rejects.toThrow('with all that it needs');
}, 300_000);
