import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { PointView } from '../../client/point-view.ts';
import type { IncidentRecord } from '../../engine/catalog/catalog.ts';
import type { BackupJson } from '../../policies/recovery-point.ts';
import type { BackupResult, RepairOutcome, RepairResult } from '../../workflows/contracts.ts';
import { noise } from '../engine/artifact/sealing.ts';
import { startWhole, type Whole } from '../support/whole.ts';

/**
 * Repair as a person asks for it: the command, the workflow, workers with the rights of their roles only, and damage as a
 * medium does it, below the servers. In the west, objects are locked.
 */

let whole: Whole;
let full: BackupJson;
let next: BackupJson;
const document = noise(100_000);

beforeAll(async () => {
  whole = await startWhole({
    before: async (stack) => {
      await mkdir(path.join(stack.dataDir, 'tree'));
      await writeFile(path.join(stack.dataDir, 'tree', 'document'), document);
    },
    sources: ({ dataDir }) => [{ name: 'tree', kind: 'files', path: path.join(dataDir, 'tree') }],
    adapt: ({ copies }) => {
      const west = copies.find((c) => c.name === 's3-west');
      if (west?.kind === 's3') west.lock = { mode: 'compliance', keep: { manual: '1d' } };
    },
  });
  full = await backUp('full');
  await writeFile(path.join(whole.dataDir, 'tree', 'note'), 'added');
  next = await backUp('incremental');
}, 300_000);
afterAll(() => whole?.stop());

async function backUp(level: string): Promise<BackupJson> {
  const { pointId } = await whole.backupctl<BackupResult>('backup', 'run', 'tree', '--level', level, '--wait');
  return (await whole.backupctl<{ backup: BackupJson }>('backup', 'show', pointId)).backup;
}

const verify = (id: string, copy: string) => whole.tryBackupctl('backup', 'verify', id, '--copy', copy);
const objectOf = (backup: BackupJson, role: string) =>
  `tree/${backup.id}/${backup.objects.find((o) => o.role === role)?.name}`;

/** Where a copy keeps the bytes of an object. */
function fileOf(copy: 'server-disk' | 's3-east' | 's3-west', key: string): string {
  const { dataDir, bucket } = whole.stack;
  return copy === 'server-disk' ? path.join(dataDir, copy, key) : path.join(dataDir, copy, bucket, key);
}
/** In place, as a medium fails: what servers keep beside the bytes stays as it was. */
function flip(file: string): void {
  const bytes = readFileSync(file);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  writeFileSync(file, bytes);
}
const idOf = ({ part }: RepairOutcome) => (part.kind === 'point' ? part.pointId : part.kind);
const keysOf = ({ outcomes }: RepairResult) =>
  outcomes.filter((o) => o.repaired > 0).map((o) => [o.copy, idOf(o), ...o.keys]);

describe('a repair', () => {
  test('of what is whole reads all of it, and changes nothing', async () => {
    const { outcomes } = await whole.backupctl<RepairResult>('backup', 'repair', next.id, '--wait');
    const copies = ['server-disk', 's3-east', 's3-west'];
    expect(outcomes.map((o) => [idOf(o), o.copy, o.state])).toEqual(
      ['way-out', full.id, next.id].flatMap((what) => copies.map((copy) => [what, copy, 'whole'])),
    );
  }, 120_000);

  test('puts again what was damaged or lost, of the point, of what it is built upon, and of the way out', async () => {
    const script = (await readdir(path.join(whole.dataDir, 'server-disk'))).find((n) => n.endsWith('.mjs')) ?? '';
    const damaged = [objectOf(full, 'artifact'), `tree/${next.id}/backup.json`, script];
    for (const key of damaged) flip(fileOf('server-disk', key));
    rmSync(fileOf('server-disk', objectOf(next, 'manifest')));
    flip(fileOf('s3-east', objectOf(full, 'key')));
    const said = await verify(full.id, 'server-disk');
    expect([said.exitCode, said.stdout]).toEqual([6, expect.stringContaining('has the SHA-256')]);
    expect((await verify(next.id, 'server-disk')).exitCode).toBe(6);
    expect((await verify(full.id, 's3-east')).stdout).toContain('key.1.age');

    const mended = await whole.backupctl<RepairResult>('backup', 'repair', next.id, '--wait');
    expect(keysOf(mended)).toEqual([
      ['server-disk', 'way-out', script],
      ['server-disk', full.id, objectOf(full, 'artifact')],
      ['s3-east', full.id, objectOf(full, 'key')],
      ['server-disk', next.id, objectOf(next, 'manifest'), `tree/${next.id}/backup.json`],
    ]);
    for (const { id } of [full, next]) {
      for (const copy of ['server-disk', 's3-east']) expect((await verify(id, copy)).exitCode).toBe(0);
    }
    const into = path.join(whole.dataDir, 'restored', 'mended');
    const person = ['--operator', 'ann', '--reason', 'to see it'];
    await whole.backupctl(...['restore', 'tree', '--from', 'server-disk', '--into', into, ...person, '--wait']);
    expect((await readFile(path.join(into, 'document'))).equals(document)).toBe(true);
    expect(await readFile(path.join(into, 'note'), 'utf8')).toBe('added');
  }, 180_000);

  test('cannot mend what the store has locked, says so and until when, and leaves it as it is', async () => {
    const key = objectOf(next, 'artifact');
    const file = fileOf('s3-west', key);
    const whatWas = readFileSync(file);
    flip(file);
    const whatIs = readFileSync(file);
    const ran = await whole.tryBackupctl('backup', 'repair', next.id, '--copy', 's3-west', '--wait');
    expect(ran.exitCode).toBe(9);
    const { outcomes } = JSON.parse(ran.stdout) as RepairResult;
    const [problem] = outcomes.find((o) => idOf(o) === next.id)?.problems ?? [];
    expect(problem).toContain(`${key} in s3-west is not what was sealed`);
    expect(problem).toMatch(/It could not be put again: .*locked until \d{4}-/);
    expect(readFileSync(file).equals(whatIs)).toBe(true);

    const shown = await whole.backupctl<{ point: PointView }>('backup', 'show', next.id);
    expect(shown.point.copies.find((c) => c.copy === 's3-west')).toMatchObject({
      state: 'failed',
      error: expect.stringContaining('is not what was sealed'),
      lockedUntil: expect.stringMatching(/^\d{4}-/),
    });
    const open = async () =>
      (await whole.backupctl<{ incidents: IncidentRecord[] }>('incidents')).incidents.filter((i) =>
        i.key.startsWith('not-whole/'),
      );
    expect(await open()).toMatchObject([{ pointId: next.id, summary: expect.stringContaining('locked until') }]);

    writeFileSync(file, whatWas);
    await whole.backupctl('backup', 'repair', next.id, '--wait');
    expect(await open()).toEqual([]);
  }, 180_000);
});
