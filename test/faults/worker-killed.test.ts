import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import pg from 'pg';
import { artifactNames, pointPrefix } from '../../policies/recovery-point.ts';
import { loginPasswords } from '../../scripts/embedded-policy.ts';
import { ensureBackupLogin } from '../../scripts/stack/database.ts';
import type { Stack } from '../../scripts/stack/stack.ts';
import type { BackupResult, BackupStatus } from '../../workflows/contracts.ts';
import { eventually } from '../support/eventually.ts';
import { killWhile, signal, stopWhile } from '../support/kill.ts';
import { leftovers } from '../support/leftovers.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { startWhole, type Whole } from '../support/whole.ts';

/**
 * SIGKILL of the real worker in the middle of each phase, with a source of every kind under way: each job goes on by
 * itself, ends with a recovery point that verifies in every copy, and leaves nothing.
 */

const sources = ['shop', 'cluster', 'tree'] as const;
/** `films` is large enough to be sent while it is being sealed. */
type Source = (typeof sources)[number] | 'films';

const partBytes = 5 * 1024 * 1024;

let whole: Whole;
let proxy: TcpProxy;

beforeAll(async () => {
  whole = await startWhole({
    accessLogs: true,
    before: async (stack) => {
      proxy = await startTcpProxy(Number(new URL(stack.east.endpoint).port));
      await makeShop(stack);
      await makeTree(path.join(stack.dataDir, 'tree'));
      await makeFilms(path.join(stack.dataDir, 'films'));
    },
    sources: ({ dataDir, postgres: { host, port } }) => {
      const login = { host, port, user: 'backup', password: `file:${dataDir}/secrets/backup-password` };
      return [
        { name: 'shop', kind: 'postgres-logical', connection: { ...login, database: 'shop' } },
        { name: 'cluster', kind: 'postgres-physical', connection: login },
        { name: 'tree', kind: 'files', path: path.join(dataDir, 'tree') },
        { name: 'films', kind: 'files', path: path.join(dataDir, 'films') },
      ];
    },
    adapt: ({ copies }) => {
      for (const copy of copies) {
        if (copy.name !== 's3-east' || copy.kind !== 's3') continue;
        Object.assign(copy, { endpoint: `http://127.0.0.1:${proxy.port}`, partBytes, concurrency: 1 });
      }
    },
  });
}, 300_000);
afterAll(async () => {
  await whole?.stop();
  await proxy?.stop();
}, 120_000);

/** Rows of bytes that do not compress, so that its artifact takes several parts. */
async function makeShop({ dataDir, postgres }: Stack): Promise<void> {
  const server = new pg.Client({ connectionString: postgres.uri() });
  await server.connect();
  await server.query('CREATE DATABASE shop');
  await server.end();
  const shop = new pg.Client({ connectionString: postgres.uri('shop') });
  await shop.connect();
  await shop.query('CREATE TABLE photos (id int PRIMARY KEY, taken timestamptz NOT NULL, pixels bytea NOT NULL)');
  for (let id = 0; id < 64; id++) {
    await shop.query('INSERT INTO photos VALUES ($1, now(), $2)', [id, randomBytes(256 * 1024)]);
  }
  await shop.end();
  await ensureBackupLogin(postgres.uri(), (await loginPasswords(dataDir)).backup, ['shop']);
}

async function makeTree(root: string): Promise<void> {
  for (let i = 0; i < 24; i++) {
    const folder = path.join(root, `year-${2000 + (i % 6)}`);
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, `film-${i}.bin`), randomBytes(1024 * 1024));
    await writeFile(path.join(folder, `note-${i}.txt`), `note ${i}\n`.repeat(i));
  }
}

async function makeFilms(root: string): Promise<void> {
  await mkdir(root);
  for (let i = 0; i < 4; i++) await writeFile(path.join(root, `film-${i}.bin`), randomBytes(16 * 1024 * 1024));
}

interface Job {
  source: Source;
  pointId: string;
  /** Bytes that the east had been sent before it began. */
  sentBefore: number;
  handle: WorkflowHandle;
  result: Promise<BackupResult>;
}

async function start(source: Source): Promise<Job> {
  const sentBefore = proxy.sent();
  const { workflowId, runId } = await whole.backupctl<{ workflowId: string; runId: string }>('backup', 'run', source);
  const handle = whole.client.workflow.getHandle(workflowId, runId);
  const result: Promise<BackupResult> = handle.result();
  // Awaited by whoever needs it; until then it may already fail.
  result.catch(() => {});
  for (;;) {
    const { pointId } = await handle.query<BackupStatus, []>('status');
    if (pointId !== null) return { source, pointId, sentBefore, handle, result };
    await setTimeout(20);
  }
}

/**
 * Starts a backup and stops the role's worker while the job is where `isIn` says. A machine that is busy may miss that
 * moment: then it is a backup like any other, and another one is started.
 */
async function stopDuring(
  source: Source,
  role: 'backup' | 'validation',
  isIn: (job: Job) => boolean,
): Promise<{ job: Job; pid: number }> {
  for (;;) {
    const job = await start(source);
    const over = new AbortController();
    const abort = () => over.abort();
    job.result.then(abort, abort);
    const pid = await stopWhile(
      () => whole.workers.pid(role),
      () => isIn(job),
      over.signal,
    );
    if (pid !== null) return { job, pid };
  }
}

/** The same, and kills it there. */
async function killDuring(...where: Parameters<typeof stopDuring>): Promise<Job> {
  const { job, pid } = await stopDuring(...where);
  signal(pid, 'SIGKILL');
  return job;
}

const staged = ({ source, pointId }: Job, name: string) =>
  path.join(whole.policy.staging.path, pointPrefix(source, pointId), name);

/** Some of the source is read, and not all of it. */
function isSealing(job: Job, bytes = 1024 * 1024): boolean {
  const names = Object.values(artifactNames);
  const artifact = names.flatMap((name) => statSync(staged(job, name), { throwIfNoEntry: false }) ?? [])[0];
  return (artifact?.size ?? 0) > bytes && !existsSync(staged(job, 'sealed.json'));
}

/** So much of it is there that it is being sent, too, or will be while it stands still. */
const isWorthSending = (job: Job) => isSealing(job, 20 * 1024 * 1024);

/** What was restored for the test is there: of a database a server that runs, of a tree its first files. */
function isValidating({ source, pointId }: Job): boolean {
  const folder = path.join(whole.policy.staging.path, '.validation', pointId);
  try {
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    return files.some((file) => file.endsWith(source === 'tree' ? '.bin' : 'postmaster.pid'));
  } catch (error) {
    // Not there yet, or being removed at this moment.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

interface Request {
  operation: string;
  key: string;
  part: string | null;
}

/** What is known of the log of the S3 server of the east, which only grows. */
const read = { bytes: 0, requests: [] as Request[] };

/** What that server has answered with success. */
function answered(): Request[] {
  const log = openSync(path.join(whole.dataDir, 's3-east.access.log'), 'r');
  try {
    const added = Buffer.alloc(fstatSync(log).size - read.bytes);
    const text = added.toString('utf8', 0, readSync(log, added, 0, added.length, read.bytes));
    // A line that is being written is read once it is whole.
    const lines = text.slice(0, text.lastIndexOf('\n') + 1);
    read.bytes += Buffer.byteLength(lines);
    for (const line of lines.split('\n')) {
      const [, operation = '', key = '', url = ''] = / (s3_\w+) (\S+) (\S+) 200 /.exec(line) ?? [];
      if (operation !== '') read.requests.push({ operation, key, part: /partNumber=(\d+)/.exec(url)?.[1] ?? null });
    }
    return read.requests;
  } finally {
    closeSync(log);
  }
}

function isUploading({ source, pointId }: Job): boolean {
  const mine = answered().filter((r) => r.key.startsWith(pointPrefix(source, pointId)));
  return (
    mine.some((r) => r.operation === 's3_UploadPart') && !mine.some((r) => r.operation === 's3_CompleteMultipartUpload')
  );
}

async function expectWhole(jobs: Job[]): Promise<void> {
  for (const { pointId, result } of jobs) {
    expect(await result).toMatchObject({ pointId, outcome: 'succeeded', checksPassed: 5, warnings: [] });
    await expect(whole.backupctl('backup', 'verify', pointId)).resolves.toMatchObject({
      verified: ['s3-east', 's3-west', 'server-disk'].map((copy) => ({ copy, good: true, problems: [] })),
    });
  }
  await expect(whole.backupctl('catalog', 'verify')).resolves.toMatchObject({ same: true });
  await eventually(async () => expect(await leftovers(whole)).toEqual([]));
}

/** Of a job that has run alone. */
async function expectSentOnce({ source, pointId, sentBefore }: Job): Promise<void> {
  const mine = answered().filter((r) => r.key.startsWith(pointPrefix(source, pointId)));
  const parts = mine.filter((r) => r.operation === 's3_UploadPart');
  const twice = parts.filter((p, i) => parts.findIndex((q) => q.key === p.key && q.part === p.part) !== i);
  // A part that the server has is not sent again; one that was cut off is none there.
  expect(twice).toEqual([]);
  const { point } = await whole.backupctl<{ point: { storedBytes: number } }>('backup', 'show', pointId);
  expect(point.storedBytes).toBeGreaterThan(4 * partBytes);
  // There is one stream; headers and small requests take what is left.
  const sentTwice = proxy.sent() - sentBefore - point.storedBytes;
  expect(sentTwice).toBeGreaterThan(0);
  expect(sentTwice).toBeLessThan(partBytes + 1024 * 1024);
}

/** How often a step of the job was begun. */
async function attemptsAt({ handle }: Job, step: string): Promise<number> {
  const { events } = await handle.fetchHistory();
  const scheduled = events?.find((e) => e.activityTaskScheduledEventAttributes?.activityType?.name === step);
  const isOfIt = (id: unknown) => String(id) === String(scheduled?.eventId);
  const started = events?.find((e) => isOfIt(e.activityTaskStartedEventAttributes?.scheduledEventId));
  return started?.activityTaskStartedEventAttributes?.attempt ?? 0;
}

describe('a worker that is killed', () => {
  test('while it seals: the point is sealed anew', async () => {
    const jobs = await Promise.all(sources.map((source) => killDuring(source, 'backup', isSealing)));
    await expectWhole(jobs);
  }, 400_000);

  test('while it validates: the point is validated anew, and no server or tree of the first attempt stays', async () => {
    const jobs = await Promise.all(sources.map((source) => killDuring(source, 'validation', isValidating)));
    await expectWhole(jobs);
  }, 400_000);

  test('while it seals and the copies are being sent: both begin anew, and nothing of the first stays', async () => {
    const { job, pid } = await stopDuring('films', 'backup', isWorthSending);
    await eventually(() => expect(isUploading(job)).toBe(true));
    signal(pid, 'SIGKILL');
    await expectWhole([job]);
  }, 400_000);

  test('while it sends what is being sealed: it goes on, and at most the part under way is sent twice', async () => {
    for (;;) {
      proxy.limit(4 * 1024 * 1024);
      const { job, pid } = await stopDuring('films', 'backup', isWorthSending);
      await killWhile(
        () => whole.workers.pid('transfer'),
        () => isUploading(job),
        new AbortController().signal,
      );
      proxy.limit(null);
      signal(pid, 'SIGCONT');
      await expectWhole([job]);
      // On a busy machine it stood still for too long, and sealing began anew: then all of it is sent anew, rightly.
      if ((await attemptsAt(job, 'sealPoint')) > 1) continue;
      await expectSentOnce(job);
      return;
    }
  }, 400_000);

  test('while it uploads: at most the part under way is sent twice', async () => {
    proxy.limit(4 * 1024 * 1024);
    const job = await start('tree');
    await killWhile(
      () => whole.workers.pid('transfer'),
      () => isUploading(job),
      new AbortController().signal,
    );
    proxy.limit(null);
    await expectWhole([job]);
    await expectSentOnce(job);
  }, 400_000);
});
