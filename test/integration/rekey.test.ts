import { readdirSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { PutObjectRetentionCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { stringify } from 'yaml';
import { generateIdentity, readSigningKey, recipientOf } from '../../engine/artifact/index.ts';
import { bytesSource, createDirectoryStore } from '../../engine/stores/index.ts';
import type { Role } from '../../policies/queues.ts';
import { pointPrefix } from '../../policies/recovery-point.ts';
import type { WalCoverage } from '../../policies/rekey.ts';
import { findTool } from '../../scripts/stack/find.ts';
import { s3Client } from '../../scripts/stack/s3.ts';
import { type BackupResult, type RekeyResult, rekeyWorkflowId } from '../../workflows/contracts.ts';
import { sealWal, walRangeBytes } from '../engine/artifact/sealed-wal.ts';
import { run } from '../interop/way-out-fixture.ts';
import { eventually } from '../support/eventually.ts';
import { allRuns, secretsIn, textsOf } from '../support/histories.ts';
import { killWhile } from '../support/kill.ts';
import { s3Store } from '../support/s3-store.ts';
import { hidingPlaces } from '../support/texts.ts';
import { startWhole, type Whole } from '../support/whole.ts';

/**
 * Keys that change hands, on the real stack, with the credentials that its workers have: points are sealed for Ann; Ben
 * takes over, and Ann's keys are taken away. Beside the points lies the WAL of a cluster, sealed for Ann as well.
 */

let whole: Whole;
let ann: { identity: string; recipient: string };
let ben: { identity: string; recipient: string };
let points: string[];

const document = 'a document, as a person wrote it\n'.repeat(100);
const person = ['--operator', 'Ada', '--reason', 'Ann has left'];

beforeAll(async () => {
  whole = await startWhole({
    before: async ({ dataDir }) => {
      await mkdir(path.join(dataDir, 'tree'));
      await writeFile(path.join(dataDir, 'tree', 'document.txt'), document);
    },
    sources: ({ dataDir }) => [
      { name: 'tree', kind: 'files', path: path.join(dataDir, 'tree') },
      // Nobody asks for this server: its WAL is laid there as it would have been archived.
      { name: 'cluster', kind: 'postgres-physical', connection: { host: 'nowhere.invalid', user: 'nobody' } },
    ],
  });
  const of = async (identity: string) => ({ identity, recipient: await recipientOf(identity) });
  ann = await of(whole.secrets.get('age-identity') ?? '');
  ben = await of(await generateIdentity());
  const backup = () => whole.backupctl<BackupResult>('backup', 'run', 'tree', '--wait');
  points = [(await backup()).pointId, (await backup()).pointId];
  await archiveWal();
}, 300_000);
afterAll(() => whole?.stop());

const walObjects = 24;

/** Into every copy, with no gap. */
async function archiveWal(): Promise<void> {
  const { dataDir, stack, secrets } = whole;
  const root = path.join(dataDir, 'wal');
  const signingKey = readSigningKey(secrets.get('signing-key.pem') ?? '');
  const stores = [
    createDirectoryStore({ name: 'server-disk', path: path.join(dataDir, 'server-disk') }),
    ...(['east', 'west'] as const).map((side) => s3Store(stack[side], stack.bucket)),
  ];
  for (let i = 0; i < walObjects; i++) {
    const start = 0x1000000n + BigInt(i * walRangeBytes);
    const key = await sealWal({ root, source: 'cluster', recipients: [ann.recipient], signingKey, start });
    const bytes = bytesSource(await readFile(path.join(root, key)));
    await Promise.all(stores.map((store) => store.put(key, bytes, {})));
  }
  for (const store of stores) await store.close();
}

/** Every wrapped key beside the WAL of a copy. */
async function walKeys(copy: 'server-disk' | 'east' | 'west'): Promise<string[]> {
  const { dataDir, stack } = whole;
  const folder = path.join(dataDir, 'server-disk');
  const store =
    copy === 'server-disk' ? createDirectoryStore({ name: copy, path: folder }) : s3Store(stack[copy], stack.bucket);
  const keys: string[] = [];
  for await (const { key } of store.list('cluster/wal/')) if (key.endsWith('.age')) keys.push(key);
  await store.close();
  return keys;
}
const walKeysNow = () =>
  readdirSync(path.join(whole.dataDir, 'server-disk', 'cluster', 'wal'), { recursive: true }).filter((name) =>
    String(name).endsWith('.age'),
  ).length;

const identityFile = () => path.join(whole.dataDir, 'secrets', 'age-identity');

/** Writes the policy and the identities, as a person does, and has the workers read them by starting them again. */
async function hand(recipients: string[], identities: string[], restart: Role[]): Promise<void> {
  whole.policy.keys.recipients = recipients;
  await writeFile(path.join(whole.dataDir, 'policy.yaml'), stringify(whole.policy));
  await writeFile(identityFile(), `${identities.join('\n')}\n`, { mode: 0o600 });
  await Promise.all(restart.map(restarted));
}

async function restarted(role: Role): Promise<void> {
  const before = whole.workers.pid(role);
  process.kill(before, 'SIGKILL');
  const ready = path.join(whole.dataDir, 'logs', `worker-${role}.ready`);
  await eventually(async () => {
    const pid = whole.workers.pid(role);
    expect(pid).not.toBe(before);
    expect(await readFile(ready, 'utf8')).toBe(String(pid));
  }, 60_000);
}

/** What became of the tree, and of the cluster where it was not left out; whatever it ends with. */
async function rekey(action: 'rotate' | 'revoke', ...names: string[]) {
  const { exitCode, stdout, stderr } = await whole.tryBackupctl('key', action, ...names, '--wait', ...person);
  const [tree, cluster] = (JSON.parse(stdout) as RekeyResult).sources ?? [];
  if (!tree) throw new Error(`${stdout}${stderr}`);
  return { ...tree, cluster, exitCode };
}

const locally = (id: string, name = '') => path.join(whole.dataDir, 'server-disk', pointPrefix('tree', id), name);
const localKeys = (id: string) =>
  readdirSync(locally(id))
    .filter((name) => name.startsWith('key.'))
    .sort();

/** The names of a point's keys in every copy. */
async function keysOf(id: string): Promise<Record<string, string[]>> {
  const { stack } = whole;
  const found: Record<string, string[]> = { 'server-disk': localKeys(id) };
  for (const side of ['east', 'west'] as const) {
    const store = s3Store(stack[side], stack.bucket);
    const names: string[] = [];
    for await (const { key } of store.list(`tree/${id}/key.`)) names.push(key.split('/').at(-1) ?? '');
    found[`s3-${side}`] = names;
    await store.close();
  }
  return found;
}
const inEveryCopy = (...names: string[]) => ({ 'server-disk': names, 's3-east': names, 's3-west': names });

/** What age itself says is in a wrapped key. */
async function unwrapped(id: string, name: string, identity: string): Promise<string> {
  const file = path.join(whole.dataDir, 'identity.txt');
  await writeFile(file, identity, { mode: 0o600 });
  const { code, stdout } = await run([await findTool('age'), '-d', '-i', file, locally(id, name)]);
  return code === 0 ? stdout : 'it does not open';
}

interface Status {
  status: { copy: string; points: number; lacking: string[]; former: string[]; wal: WalCoverage | null }[];
}

describe('keys that change hands', () => {
  test('a rotation whose worker is killed in the middle is finished, with the same key in every copy', async () => {
    // Where the machine is too busy to hit the middle, there is another stranger to rotate to.
    const isKilled = { points: false, wal: false };
    while (!isKilled.points || !isKilled.wal) {
      const stranger = await recipientOf(await generateIdentity());
      await hand([ben.recipient, stranger], [ann.identity], ['recovery']);
      const before = points.flatMap(localKeys).length;
      const walBefore = walKeysNow();
      await whole.backupctl('key', 'rotate', ...person);
      const result = whole.client.workflow.getHandle(rekeyWorkflowId).result() as Promise<RekeyResult>;
      const over = new AbortController();
      const abort = () => over.abort();
      result.then(abort, abort);
      const middle = () => {
        if (!isKilled.points && points.flatMap(localKeys).length === before + 1) return 'points';
        const walNow = walKeysNow();
        return !isKilled.wal && walNow > walBefore && walNow < walBefore + walObjects ? 'wal' : null;
      };
      for (let where: ReturnType<typeof middle> = null; ; ) {
        const isThere = () => {
          where = middle();
          return where !== null;
        };
        if (!(await killWhile(() => whole.workers.pid('recovery'), isThere, over.signal)) || where === null) break;
        isKilled[where as 'points' | 'wal'] = true;
      }
      expect((await result).sources).toMatchObject([
        { source: 'tree', points: 2, problems: [], moreProblems: 0 },
        { source: 'cluster', points: 0, wal: { objects: walObjects, inLine: walObjects }, problems: [] },
      ]);
    }
    const local = await walKeys('server-disk');
    expect(local.length % walObjects).toBe(0);
    for (const copy of ['east', 'west'] as const) expect(await walKeys(copy)).toEqual(local);
    for (const id of points) {
      const keys = await keysOf(id);
      expect(keys).toEqual(inEveryCopy(...localKeys(id)));
      expect(localKeys(id).length).toBeGreaterThan(1);
    }
  }, 300_000);

  test('the present recipient opens every point once it was rotated for him, by a key that age itself unwraps', async () => {
    await hand([ben.recipient], [ann.identity], ['recovery']);
    const before = await whole.backupctl<Status>('key', 'status', 'tree');
    expect(before.status.map((s) => [s.copy, s.lacking.length])).toEqual([
      ['server-disk', 0],
      ['s3-east', 0],
      ['s3-west', 0],
    ]);
    expect(before.status[0]?.former.toSorted()).toEqual(points.toSorted());
    const rotated = await rekey('rotate');
    expect(rotated).toMatchObject({ exitCode: 0, points: 2, added: 6, present: 0, problems: [] });
    expect(rotated.cluster?.wal).toMatchObject({ objects: walObjects, added: 3 * walObjects, present: 0 });
    const { status } = await whole.backupctl<Status>('key', 'status', 'cluster');
    expect(status.map((s) => s.wal)).toMatchObject(
      Array(3).fill({ objects: walObjects, lacking: 0, former: walObjects }),
    );
    for (const { recipient, present } of [
      { ...ben, present: true },
      { ...ann, present: false },
    ])
      expect(status[0]?.wal?.opens).toContainEqual({ recipient, present, objects: walObjects });
    for (const id of points) {
      const newest = localKeys(id).at(-1) ?? '';
      const key = await unwrapped(id, 'key.1.age', ann.identity);
      expect(key).toMatch(/^[0-9a-f]{64}\n$/);
      expect(await unwrapped(id, newest, ben.identity)).toBe(key);
      expect(await unwrapped(id, newest, ann.identity)).toBe('it does not open');
    }
  });

  test('rotating twice changes nothing', async () => {
    const before = await Promise.all(points.map(keysOf));
    const walBefore = await walKeys('west');
    expect((await rekey('rotate')).cluster?.wal).toMatchObject({ added: 0, present: 3 * walObjects });
    expect(await walKeys('west')).toEqual(walBefore);
    expect(await rekey('rotate', 'tree')).toMatchObject({ exitCode: 0, added: 0, present: 6 });
    expect(await rekey('rotate', ...points)).toMatchObject({ exitCode: 0, points: 2, added: 0, present: 6 });
    expect(await Promise.all(points.map(keysOf))).toEqual(before);
  });

  test('nothing is taken away as long as no present recipient’s identity has shown that it opens', async () => {
    const revoked = await rekey('revoke');
    expect(revoked).toMatchObject({ exitCode: 9, revoked: 0, unproven: 2, kept: [] });
    expect(revoked.cluster).toMatchObject({ revoked: 0, wal: { unproven: walObjects } });
    for (const id of points) expect(localKeys(id)).toContain('key.1.age');
  });

  test('former keys are taken away from every copy but where they are locked, which is told', async () => {
    const [locked = '', free = ''] = points;
    const until = new Date(Date.now() + 3_600_000);
    const root = s3Client(whole.stack.west);
    const object = { Bucket: whole.stack.bucket, Key: `tree/${locked}/key.1.age` };
    await root.send(
      new PutObjectRetentionCommand({ ...object, Retention: { Mode: 'GOVERNANCE', RetainUntilDate: until } }),
    );
    root.destroy();
    await hand([ben.recipient], [ann.identity, ben.identity], ['recovery', 'retention']);

    const revoked = await rekey('revoke');
    expect(revoked).toMatchObject({ exitCode: 9, unproven: 0, problems: [] });
    expect(revoked.kept).toEqual([expect.stringContaining(`${locked} in s3-west: key.1.age, locked until `)]);
    // Of what was archived for Ann her key stays in the line, and that is said; what came beside it is gone.
    expect(revoked.cluster).toMatchObject({ kept: [], wal: { unproven: 0, inLine: walObjects } });
    expect(revoked.cluster?.revoked).toBeGreaterThanOrEqual(3 * walObjects);
    for (const copy of ['server-disk', 'east', 'west'] as const) expect(await walKeys(copy)).toHaveLength(walObjects);
    const newest = localKeys(free).at(-1) ?? '';
    expect(await keysOf(free)).toEqual(inEveryCopy(newest));
    expect(await keysOf(locked)).toEqual({ ...inEveryCopy(newest), 's3-west': ['key.1.age', newest] });
    const { status } = await whole.backupctl<Status>('key', 'status', 'tree');
    expect(status.map((s) => [s.copy, s.former])).toEqual([
      ['server-disk', []],
      ['s3-east', []],
      ['s3-west', [locked]],
    ]);
  });

  test('what is left is whole: it is verified, found by a new catalog, and restored by the present recipient alone', async () => {
    await hand([ben.recipient], [ben.identity], ['recovery']);
    for (const id of points) await whole.backupctl('backup', 'verify', id);
    const { verified } = await whole.backupctl<{ verified: object[] }>('wal', 'verify', 'cluster', '--read');
    expect(verified).toMatchObject(Array(3).fill({ ranges: walObjects, gaps: [], problems: [] }));
    await whole.backupctl('catalog', 'rebuild', '--all');
    await expect(whole.backupctl('catalog', 'verify')).resolves.toMatchObject({ same: true });
    for (const [i, from] of ['server-disk', 's3-east', 's3-west'].entries()) {
      const into = path.join(whole.dataDir, 'restored', from);
      const [older = '', newer = ''] = points;
      await whole.backupctl(
        ...['restore', 'tree', '--point', i === 0 ? older : newer, '--from', from, '--into', into, '--wait', ...person],
      );
      expect(await readFile(path.join(into, 'document.txt'), 'utf8')).toBe(document);
    }
  });

  test('the former recipient is told for whom it is', async () => {
    await writeFile(identityFile(), `${ann.identity}\n`);
    const { exitCode, stdout } = await whole.tryBackupctl('backup', 'verify', points[1] ?? '', '--copy', 's3-east');
    expect(exitCode).toBe(6);
    const { verified } = JSON.parse(stdout) as { verified: { error: { type: string; message: string } }[] };
    expect(verified[0]?.error.type).toBe('KeyWrong');
    expect(verified[0]?.error.message).toContain(`sealed for ${ben.recipient}`);
    expect(stdout).not.toContain(ann.identity);
  });

  test('no secret stands in what Temporal keeps of it, and little else', async () => {
    const runs = await allRuns(whole.client);
    const texts = textsOf(runs.filter(({ info }) => info.type === 'rekey'));
    expect(hidingPlaces(texts, ann.recipient)).toEqual([]);
    expect(hidingPlaces(texts, 'Ann has left').length).toBeGreaterThan(0);
    const identities: [string, string][] = [
      ['the identity of Ann', ann.identity],
      ['the identity of Ben', ben.identity],
    ];
    expect(secretsIn(textsOf(runs), [...whole.secrets, ...identities])).toEqual([]);
  });

  test('no run is without a name and a reason, nor for what nobody knows', async () => {
    expect(await whole.tryBackupctl('key', 'rotate')).toMatchObject({ exitCode: 2 });
    expect((await whole.tryBackupctl('key', 'rotate', 'trea', ...person)).stdout).toContain('Did you mean');
  });
});
