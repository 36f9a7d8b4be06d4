import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import {
  DeleteObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  PutObjectLockConfigurationCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { openPoint } from '../../engine/artifact/index.ts';
import { openStore } from '../../engine/stores/open.ts';
import { roles } from '../../policies/queues.ts';
import { secretsOf } from '../../policies/role-secrets.ts';
import { loginPasswords } from '../../scripts/embedded-policy.ts';
import { ensureBackupLogin } from '../../scripts/stack/database.ts';
import { s3Client } from '../../scripts/stack/s3.ts';
import type { Stack } from '../../scripts/stack/stack.ts';
import type { BackupResult, RestoreResult } from '../../workflows/contracts.ts';
import { type Sighting, type Watched, watchProcesses } from '../support/watch-processes.ts';
import { startWhole, type Whole } from '../support/whole.ts';

/**
 * The whole job with exactly the rights that each role has: real servers, real workers, and a bucket (west) that locks
 * whatever comes in for a day.
 */

let whole: Whole;
let watch: ReturnType<typeof watchProcesses>;
/** Carries secrets in its arguments and its environment, so that a watch that sees nothing is noticed. */
let decoy: ChildProcess;
let database: BackupResult;
const trees: BackupResult[] = [];
const document = 'a document, as a person wrote it\n'.repeat(100);

beforeAll(async () => {
  whole = await startWhole({
    before: async (stack) => {
      await lockWhateverComesIn(stack);
      await makeShop(stack);
      await mkdir(path.join(stack.dataDir, 'tree', 'below'), { recursive: true });
      await writeFile(path.join(stack.dataDir, 'tree', 'below', 'document.txt'), document);
    },
    sources: ({ dataDir, postgres: { host, port } }) => {
      const password = `file:${path.join(dataDir, 'secrets', 'backup-password')}`;
      const connection = { host, port, database: 'shop', user: 'backup', password };
      return [
        { name: 'shop', kind: 'postgres-logical', connection },
        { name: 'tree', kind: 'files', path: path.join(dataDir, 'tree') },
      ];
    },
    adapt: ({ copies: [local] }) => {
      if (local) local.pruneAfter = '1s';
    },
  });
  watch = watchProcesses(whole.secrets);
  decoy = spawn(
    process.execPath,
    ['-e', 'setTimeout(() => {}, 600_000)', whole.secrets.get('catalog-password') ?? ''],
    {
      env: { ...process.env, DECOY: whole.secrets.get('age-identity') },
    },
  );
  database = await whole.backupctl<BackupResult>('backup', 'run', 'shop', '--wait');
  for (let i = 0; i < 2; i++) trees.push(await whole.backupctl<BackupResult>('backup', 'run', 'tree', '--wait'));
});
afterAll(async () => {
  decoy?.kill();
  await watch?.stop();
  await whole?.stop();
});

async function lockWhateverComesIn({ west, bucket }: Stack): Promise<void> {
  const root = s3Client(west);
  const Rule = { DefaultRetention: { Mode: 'COMPLIANCE', Days: 1 } } as const;
  await root.send(
    new PutObjectLockConfigurationCommand({
      Bucket: bucket,
      ObjectLockConfiguration: { ObjectLockEnabled: 'Enabled', Rule },
    }),
  );
  root.destroy();
}

async function makeShop({ dataDir, postgres }: Stack): Promise<void> {
  await run(postgres.uri(), 'CREATE DATABASE shop', 'CREATE DATABASE shop_again', 'CREATE ROLE clerk LOGIN');
  await run(
    postgres.uri('shop'),
    'CREATE TABLE orders (id int PRIMARY KEY, clerk text, note text)',
    "INSERT INTO orders SELECT g, 'clerk', md5(g::text) FROM generate_series(1, 2000) g",
    'ALTER TABLE orders OWNER TO clerk',
    // Rows that only their clerk may see are backed up all the same.
    'ALTER TABLE orders ENABLE ROW LEVEL SECURITY',
    'CREATE POLICY own ON orders USING (clerk = current_user)',
  );
  await ensureBackupLogin(postgres.uri(), (await loginPasswords(dataDir)).backup, ['shop']);
}

async function run(uri: string, ...statements: string[]): Promise<pg.QueryResult[]> {
  const client = new pg.Client({ connectionString: uri });
  await client.connect();
  try {
    const results: pg.QueryResult[] = [];
    for (const statement of statements) results.push(await client.query(statement));
    return results;
  } finally {
    await client.end();
  }
}

describe('the whole job, with the rights of each role only', () => {
  test('backs up, validates and publishes to every copy, also to the bucket that locks whatever comes in', () => {
    for (const result of [database, ...trees]) {
      expect(result).toMatchObject({ outcome: 'succeeded', checksPassed: 5, warnings: [] });
      expect(result.copies.map((c) => [c.copy, c.state])).toEqual([
        ['server-disk', 'verified'],
        ['s3-east', 'verified'],
        ['s3-west', 'verified'],
      ]);
    }
  });

  test('restores a database from that bucket', async () => {
    const { postgres } = whole.stack;
    await whole.backupctl<RestoreResult>(
      ...['restore', 'shop', '--from', 's3-west', '--wait', '--operator', 'Ada', '--reason', 'a test'],
      ...['--into', `postgresql://postgres@${postgres.host}:${postgres.port}/shop_again`],
    );
    const [count] = await run(postgres.uri('shop_again'), 'SELECT count(*)::int AS n FROM orders');
    expect(count?.rows).toEqual([{ n: 2000 }]);
  });

  test('restores files from that bucket', async () => {
    const into = path.join(whole.dataDir, 'restored', 'tree');
    await whole.backupctl<RestoreResult>(
      ...['restore', 'tree', '--from', 's3-west', '--wait', '--operator', 'Ada', '--reason', 'a test', '--into', into],
    );
    expect(await readFile(path.join(into, 'below', 'document.txt'), 'utf8')).toBe(document);
  });

  test('prunes the local copy of what lies elsewhere, by the role that may delete', async () => {
    const [older, newer] = trees.map((t) => t.pointId);
    const { points } = await whole.backupctl<{ points: { id: string; copies: { copy: string }[] }[] }>(
      ...['backup', 'list', 'tree'],
    );
    const copies = (id?: string) => points.find((p) => p.id === id)?.copies.map((c) => c.copy);
    expect(copies(newer)).toEqual(['s3-east', 's3-west', 'server-disk']);
    expect(copies(older)).toEqual(['s3-east', 's3-west']);
    const kept = await readdir(path.join(whole.dataDir, 'server-disk', 'tree'));
    expect(kept).toEqual([newer]);
  });

  test('holds a point by law: nothing of it goes, whoever removes, until a person lifts it', async () => {
    const { backupctl, policy, secrets, dataDir } = whole;
    const id = trees[1]?.pointId ?? '';
    const locally = () => readdir(path.join(dataDir, 'server-disk', 'tree'));
    const by = ['--operator', 'Ada', '--reason', 'a lawsuit'];
    await expect(backupctl('hold', 'add', id, ...by)).resolves.toMatchObject({
      copies: [
        { copy: 's3-east', by: 'store' },
        { copy: 's3-west', by: 'store' },
        { copy: 'server-disk', by: 'note' },
      ],
    });
    await backupctl('backup', 'run', 'tree', '--wait');
    expect(await locally()).toContain(id);
    const east = policy.copies.find((c) => c.name === 's3-east');
    if (!east) throw new Error('the policy has no s3-east');
    const resolveSecret = async (ref: string) => secrets.get(path.basename(ref)) ?? '';
    const remover = await openStore(east, { access: 'delete', resolveSecret });
    await expect(remover.delete(`tree/${id}/backup.json`)).rejects.toMatchObject({ type: 'StoreDenied' });
    await remover.close();

    await run(whole.stack.postgres.uri('catalog'), 'DELETE FROM backup_coordinator.points');
    await backupctl('catalog', 'rebuild', '--all');
    await expect(backupctl('catalog', 'verify')).resolves.toMatchObject({ same: true });
    await expect(backupctl('backup', 'show', id)).resolves.toMatchObject({
      point: { holds: [{ operator: 'Ada', reason: 'a lawsuit' }] },
    });

    await backupctl('hold', 'remove', id, ...by);
    await expect(backupctl('hold', 'list')).resolves.toEqual({ holds: [] });
    trees.push(await backupctl<BackupResult>('backup', 'run', 'tree', '--wait'));
    expect(await locally()).toEqual([trees.at(-1)?.pointId]);
  });

  test('rebuilds the catalog from that bucket alone', async () => {
    const known = async () => whole.backupctl<{ points: { id: string }[] }>('backup', 'list');
    const before = await known();
    await run(whole.stack.postgres.uri('catalog'), 'DELETE FROM backup_coordinator.points');
    await whole.backupctl('catalog', 'rebuild', '--from', 's3-west');
    expect(await known()).toEqual(before);
    await expect(whole.backupctl('catalog', 'verify')).resolves.toMatchObject({ same: true });
  });
});

describe('whoever steals a backup host', () => {
  test('can fetch old backups and open none of them, with all that stands there', async () => {
    const { policy, secrets } = whole;
    const held = [...secretsOf('backup', policy, 'local'), ...secretsOf('transfer', policy, 'local')];
    const values = held.map((ref) => secrets.get(path.basename(ref)) ?? '');
    expect(values).toHaveLength(6);
    const copy = policy.copies.find((c) => c.name === 's3-east');
    if (!copy) throw new Error('the policy has no s3-east');
    const store = await openStore(copy, {
      access: 'write',
      resolveSecret: async (ref) => {
        expect(held).toContain(ref);
        return secrets.get(path.basename(ref)) ?? '';
      },
    });
    const open = (identity: string) =>
      openPoint({ store, source: 'tree', id: trees[0]?.pointId ?? '', identity, trusted: policy.keys.trusted });
    for (const value of values)
      await expect(open(value)).rejects.toMatchObject({ type: expect.stringMatching(/^Key/) });
    await expect(open(secrets.get('age-identity') ?? '')).resolves.toMatchObject({ backup: { id: trees[0]?.pointId } });
    await store.close();
  });
});

describe('whoever steals the credentials', () => {
  const attacker = (copy: 's3-east' | 's3-west', access: 'write' | 'delete') => {
    const server = copy === 's3-east' ? whole.stack.east : whole.stack.west;
    return s3Client({ ...server, ...server.users[access] });
  };
  const keysOf = async (client: S3Client, Prefix: string) =>
    (await client.send(new ListObjectsV2Command({ Bucket: whole.stack.bucket, Prefix }))).Contents?.map((o) => o.Key) ??
    [];

  /** In every copy, for a catalog that is made anew. This server tells the time of a version that was overwritten anew. */
  async function stillThere(id: string): Promise<void> {
    await run(whole.stack.postgres.uri('catalog'), 'DELETE FROM backup_coordinator.points');
    await whole.backupctl('catalog', 'rebuild', '--all');
    const { point } = await whole.backupctl<{ point: { copies: { copy: string }[] } }>('backup', 'show', id);
    expect(point.copies.map((c) => c.copy)).toEqual(['s3-east', 's3-west', 'server-disk']);
  }

  test('to write overwrites what he likes, and every backup is read as before', async () => {
    const id = trees.at(-1)?.pointId ?? '';
    const client = attacker('s3-east', 'write');
    const keys = await keysOf(client, `tree/${id}/`);
    expect(keys.length).toBeGreaterThan(3);
    for (const Key of keys) {
      await client.send(new PutObjectCommand({ Bucket: whole.stack.bucket, Key, Body: 'pay to read this again' }));
    }
    client.destroy();
    await whole.backupctl('backup', 'verify', id, '--copy', 's3-east');
    await stillThere(id);
  });

  test('to delete removes nothing that is locked, and hides nothing', async () => {
    const id = trees.at(-1)?.pointId ?? '';
    const client = attacker('s3-west', 'delete');
    for (const Key of await keysOf(client, `tree/${id}/`)) {
      await client.send(new DeleteObjectCommand({ Bucket: whole.stack.bucket, Key }));
    }
    expect(await keysOf(client, `tree/${id}/`)).toEqual([]);
    client.destroy();
    await whole.backupctl('backup', 'verify', id, '--copy', 's3-west');
    await stillThere(id);
  });
});

describe('secrets', () => {
  let watched: Watched;
  beforeAll(async () => {
    watched = await watch.stop();
  });

  const sightings = (where: Sighting['where']) => watched.sightings.filter((s) => s.where === where);
  const isDecoy = ({ line }: Sighting) => line[0] === decoy.pid;

  test('stand in no arguments of any process', () => {
    expect(sightings('arguments').filter((s) => !isDecoy(s))).toEqual([]);
    expect(sightings('arguments').filter(isDecoy)).toContainEqual(
      expect.objectContaining({ secret: 'catalog-password' }),
    );
  });

  test('stand in the environment of those only whose own they are', () => {
    const { policy, workers } = whole;
    const strange = sightings('environment').filter(({ line, program, secret }) => {
      // An S3 server is given the keys of its root user so.
      if (/^(east|west)-root-/.test(secret)) return !['versitygw', 'setpriv'].includes(program);
      // A worker's own has none; the tools it calls are given the password that they need.
      const role = roles.find((r) => line.slice(1).includes(workers.pid(r)));
      return !role || !secretsOf(role, policy, 'local').some((ref) => path.basename(ref) === secret);
    });
    expect(strange.filter((s) => !isDecoy(s))).toEqual([]);
    expect(strange.filter(isDecoy)).toContainEqual(expect.objectContaining({ secret: 'age-identity' }));
  });

  test('stand in no log, no history, no catalog, no staged or stored file', async () => {
    // An access key's id is no secret: it stands in the bucket's policy. A key in PEM is searched for line by line.
    const values = [...whole.secrets].filter(([name]) => !name.endsWith('-access-key')).map(([, value]) => value);
    const lines = values.flatMap((value) => value.split('\n')).filter((line) => !line.startsWith('-----'));
    const found = await filesWith(lines, whole.dataDir);
    // Where they are kept: our own files, and the S3 servers' lists of users.
    const kept = /^(secrets\/|s3-(east|west)\.iam\/users\.json)/;
    expect(found.filter((file) => !kept.test(file))).toEqual([]);
    expect(found).toContain('secrets/age-identity');
    expect(found).toContain('secrets/signing-key.pem');
  });
});

/** The files below a folder that hold any of the lines, binary ones too. */
async function filesWith(lines: string[], folder: string): Promise<string[]> {
  const grep = spawn('grep', ['-rlaF', '-f', '-', '.'], { cwd: folder, stdio: ['pipe', 'pipe', 'inherit'] });
  grep.stdin.end(`${lines.join('\n')}\n`);
  const out = await text(grep.stdout);
  return out.split('\n').flatMap((line) => (line === '' ? [] : [path.normalize(line)]));
}
