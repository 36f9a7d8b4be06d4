import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import path from 'node:path';
import { DeleteBucketPolicyCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { stringify } from 'yaml';
import { generateIdentity } from '../../engine/artifact/index.ts';
import type { NotificationEvent } from '../../engine/notify/index.ts';
import { failureTypes } from '../../policies/failure.ts';
import { loginPasswords } from '../../scripts/embedded-policy.ts';
import { ensureBackupLogin } from '../../scripts/stack/database.ts';
import { s3Client } from '../../scripts/stack/s3.ts';
import { ensureUsers } from '../../scripts/stack/s3-users.ts';
import { type RunningWorkers, startWorkers } from '../../scripts/workers.ts';
import type { BackupResult } from '../../workflows/contracts.ts';
import type { Ran } from '../client/terminal.ts';
import { eventually } from '../support/eventually.ts';
import { fakePostgres } from '../support/fake-postgres.ts';
import { leftovers } from '../support/leftovers.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { startWhole, type Whole } from '../support/whole.ts';

/**
 * What people get wrong, through the whole job: each is told by name and reason, with the exit code that docs/exit-codes.md
 * promises, as an incident and a notification, and leaves nothing.
 */

let whole: Whole;
let elsewhere: RunningWorkers;
let future: Awaited<ReturnType<typeof fakePostgres>>;
let away: TcpProxy;
let receiver: Server;
const told: NotificationEvent[] = [];

beforeAll(async () => {
  receiver = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      told.push(JSON.parse(Buffer.concat(chunks).toString()).event);
      response.end('ok');
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  future = await fakePostgres({ server_version_num: '990001', server_version: '99.1' });
  whole = await startWhole({
    before: async ({ dataDir, postgres }) => {
      away = await startTcpProxy(postgres.port);
      const client = new pg.Client({ connectionString: postgres.uri() });
      await client.connect();
      await client.query('CREATE DATABASE hollow');
      await client.end();
      await ensureBackupLogin(postgres.uri(), (await loginPasswords(dataDir)).backup, ['hollow']);
      mkdirSync(path.join(dataDir, 'tree'));
      writeFileSync(path.join(dataDir, 'tree', 'document.txt'), 'a document\n');
      const { port } = receiver.address() as { port: number };
      writeFileSync(path.join(dataDir, 'secrets', 'webhook'), `http://127.0.0.1:${port}/hook\n`);
      writeFileSync(path.join(dataDir, 'secrets', 'wrong'), 'this is not it\n');
    },
    sources: ({ dataDir, postgres: { host, port } }) => {
      const secret = (name: string) => `file:${dataDir}/secrets/${name}`;
      const login = { host, port, database: 'hollow', user: 'backup', password: secret('backup-password') };
      const logical = (name: string, connection: object = {}, more: object = {}) => ({
        ...{ name, kind: 'postgres-logical', connection: { ...login, ...connection } },
        ...more,
      });
      return [
        logical('wrong-password', { password: secret('wrong') }),
        logical('no-database', { database: 'hallow' }),
        logical('too-new', { port: future.port }),
        logical('no-tools', {}, { host: 'bare' }),
        logical('away', { port: away.port }),
        logical('hollow'),
        // Files there that not even root may read.
        { name: 'unreadable', kind: 'files', path: '/sys/bus/cpu' },
        { name: 'nowhere', kind: 'files', path: path.join(dataDir, 'nowhere') },
        { name: 'tree', kind: 'files', path: path.join(dataDir, 'tree') },
      ];
    },
    adapt: (policy) => {
      policy.notifications = [
        {
          kind: 'webhook',
          url: `file:${policy.keys.identity.slice(5, -'age-identity'.length)}webhook`,
          on: ['success', 'failure'],
        },
      ];
    },
  });
  const tools = process.env.PG_BIN_DIRS;
  process.env.PG_BIN_DIRS = path.join(whole.dataDir, 'nowhere');
  elsewhere = await startWorkers({
    policyFile: path.join(whole.dataDir, 'policy.yaml'),
    logDir: path.join(whole.dataDir, 'logs-bare'),
    roles: ['backup'],
    host: 'bare',
  });
  if (tools === undefined) delete process.env.PG_BIN_DIRS;
  else process.env.PG_BIN_DIRS = tools;
}, 300_000);

afterAll(async () => {
  await elsewhere?.stop();
  await whole?.stop();
  await away?.stop();
  future?.close();
  receiver?.close();
}, 120_000);

interface Told {
  type: keyof typeof failureTypes;
  message: string;
  next: string;
  exitCode: number;
}

const errorOf = ({ stdout }: Ran): Told => (JSON.parse(stdout) as { error: Told }).error;

/** That a backup ended as it should, that people were told, and that the incident is open. */
async function expectFailure(
  source: string,
  ran: Ran,
  expected: { type: Told['type']; message: RegExp },
): Promise<void> {
  const error = errorOf(ran);
  expect(error).toMatchObject({ type: expected.type, message: expect.stringMatching(expected.message) });
  expect(error.next).not.toBe('');
  expect([ran.exitCode, error.exitCode]).toEqual(Array(2).fill(failureTypes[expected.type].exitCode));
  expect(JSON.stringify([ran, told])).not.toContain('this is not it');
  expect(told.filter((event) => event.source === source)).toEqual([
    expect.objectContaining({ outcome: 'failed', error: error.message }),
  ]);
  const { incidents } = await whole.backupctl<{ incidents: { key: string; summary: string; resolvedAt: null }[] }>(
    'incidents',
  );
  expect(incidents).toContainEqual(
    expect.objectContaining({ key: `backup-failed/${source}`, summary: expect.stringContaining(error.message) }),
  );
}

const backUp = (source: string) => whole.tryBackupctl('backup', 'run', source, '--wait');

describe('a source that cannot be backed up', () => {
  const table: [source: string, type: Told['type'], message: RegExp][] = [
    ['wrong-password', 'SourceAuthentication', /user "backup"/],
    ['no-database', 'SourceMissing', /"hallow".*Did you mean "hollow"\?/],
    ['too-new', 'ServerTooNew', /PostgreSQL 99\.1/],
    ['no-tools', 'ClientToolMissing', /pg_dump/],
    ['unreadable', 'SourceUnreadable', /\/sys\/bus\/cpu\/.* cannot be read/],
    ['nowhere', 'SourceMissing', /nowhere/],
  ];
  const ends = new Map<string, Ran>();
  beforeAll(async () => {
    await Promise.all(table.map(async ([source]) => ends.set(source, await backUp(source))));
  }, 180_000);

  test.each(table)(
    '%s',
    async (source, type, message) => {
      const ran = ends.get(source);
      if (!ran) throw new Error('it was not started');
      expect(failureTypes[type].retryable).toBe(false);
      await expectFailure(source, ran, { type, message });
    },
    120_000,
  );

  test('away: is tried again until its server is there', async () => {
    away.set('down');
    const ended = backUp('away');
    const handle = async () => {
      for await (const { workflowId } of whole.client.workflow.list({ query: "BackupSource = 'away'" }))
        return workflowId;
      throw new Error('not listed yet');
    };
    await eventually(async () => {
      const { raw } = await whole.client.workflow.getHandle(await handle()).describe();
      expect(raw.pendingActivities?.find((a) => a.activityType?.name === 'sealPoint')).toMatchObject({
        lastFailure: { applicationFailureInfo: { type: 'SourceUnreachable', nonRetryable: false } },
      });
    }, 60_000);
    away.set('up');
    expect(JSON.parse((await ended).stdout)).toMatchObject({ outcome: 'succeeded' });
  }, 180_000);

  test('hollow: a database without a table is backed up, with a warning', async () => {
    const ran = await backUp('hollow');
    expect([ran.exitCode, JSON.parse(ran.stdout)]).toEqual([
      0,
      expect.objectContaining({
        outcome: 'succeeded',
        warnings: ['the database "hollow" holds no table: is it the one that was meant?'],
      }),
    ]);
    expect(told.at(-1)).toMatchObject({ source: 'hollow', outcome: 'succeeded' });
  }, 120_000);
});

describe('keys', () => {
  const keyFile = (name: string) => path.join(whole.dataDir, 'secrets', name);

  test('a validation whose identity is another one publishes nothing', async () => {
    const own = readFileSync(keyFile('age-identity'));
    writeFileSync(keyFile('age-identity'), `${await generateIdentity()}\n`);
    const ran = await backUp('tree');
    writeFileSync(keyFile('age-identity'), own);
    await expectFailure('tree', ran, { type: 'KeyWrong', message: /identity/ });
  }, 120_000);

  test('a signing key that is missing is named by its reference', async () => {
    told.length = 0;
    renameSync(keyFile('signing-key.pem'), keyFile('hidden'));
    const ran = await backUp('tree');
    renameSync(keyFile('hidden'), keyFile('signing-key.pem'));
    await expectFailure('tree', ran, { type: 'SecretMissing', message: /signing-key\.pem/ });
  }, 120_000);
});

describe('stores', () => {
  test('a bucket that is not there and one that refuses cost their copies, not the backup', async () => {
    told.length = 0;
    const { west, bucket, dataDir } = whole.stack;
    const folder = path.join(dataDir, 's3-east', bucket);
    renameSync(folder, `${folder}-hidden`);
    const root = s3Client(west);
    await root.send(new DeleteBucketPolicyCommand({ Bucket: bucket }));
    root.destroy();
    const ran = await backUp('tree');
    renameSync(`${folder}-hidden`, folder);
    await ensureUsers(west, bucket, west.users);

    expect(ran.exitCode).toBe(failureTypes.RuleBreached.exitCode);
    const result = JSON.parse(ran.stdout) as BackupResult;
    expect(result).toMatchObject({ outcome: 'partial', rule: { satisfied: false } });
    expect(result.copies).toMatchObject([
      { copy: 'server-disk', state: 'verified' },
      { copy: 's3-east', state: 'failed', error: expect.stringMatching(/bucket backups.*does not exist/) },
      { copy: 's3-west', state: 'failed', error: expect.stringMatching(/bucket backups.*refuse/) },
    ]);
    expect(told).toMatchObject([{ source: 'tree', outcome: 'partial', result: { copies: result.copies } }]);
    const { incidents } = await whole.backupctl<{ incidents: { key: string }[] }>('incidents');
    expect(incidents.map((i) => i.key)).toContain('rule-breached/tree');
    // What was begun there and could not be removed goes once the buckets are there again.
    await expect(whole.backupctl('backup', 'verify', result.pointId)).resolves.toMatchObject({
      verified: [{ copy: 'server-disk', good: true }],
    });
  }, 180_000);
});

describe('a policy that is not valid', () => {
  test('starts no worker, and is refused by backupctl, at its line and column', async () => {
    const file = path.join(whole.dataDir, 'invalid.yaml');
    const text = stringify({ ...whole.policy, sources: [{ name: 'tree', kind: 'fils', path: '/srv/tree' }] });
    writeFileSync(file, text);
    const line = text.split('\n').findIndex((l) => l.includes('fils')) + 1;
    const place = `${file}:${line}:5: sources[0].kind: expected one of`;
    const worker = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
      const args = ['workers/main.ts', '--role', 'transfer', '--policy', file];
      const cwd = path.join(import.meta.dirname, '..', '..');
      execFile(process.execPath, args, { cwd }, (error, _stdout, stderr) => resolve({ code: error?.code, stderr }));
    });
    expect(worker).toMatchObject({ code: 2, stderr: expect.stringContaining(place) });
    const ran = await whole.tryBackupctl('--policy', file, 'backup', 'run', 'tree', '--wait');
    expect(ran.exitCode).toBe(2);
    expect(errorOf(ran)).toMatchObject({ type: 'PolicyInvalid', message: expect.stringContaining(place) });
    expect(errorOf(ran).message).toContain('did you mean "files"?');
  }, 60_000);
});

test('none of them leaves anything', async () => {
  await eventually(async () => expect(await leftovers(whole)).toEqual([]));
}, 120_000);
