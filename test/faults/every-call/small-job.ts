import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { isDeepStrictEqual, promisify } from 'node:util';
import { WorkflowNotFoundError } from '@temporalio/client';
import { createCoordinationActivities } from '../../../activities/coordination.ts';
import { createHostActivities } from '../../../activities/host.ts';
import { createRecoveryActivities } from '../../../activities/recovery.ts';
import { createRetentionActivities } from '../../../activities/retention.ts';
import { createTransferActivities } from '../../../activities/transfer.ts';
import { createValidationActivities } from '../../../activities/validation.ts';
import { acquireFramePool } from '../../../engine/artifact/frame-pool.ts';
import {
  generateIdentity,
  generateSigningKey,
  openPoint,
  publicKeyOf,
  readSigningKey,
  recipientOf,
  verifyPoint,
} from '../../../engine/artifact/index.ts';
import { type Catalog, openCatalog, rebuildCatalog, verifyCatalog } from '../../../engine/catalog/index.ts';
import { createFilesSource } from '../../../engine/sources/index.ts';
import { createDirectoryStore, type Store } from '../../../engine/stores/index.ts';
import { filesSource } from '../../../policies/policy.ts';
import { backupJsonName } from '../../../policies/recovery-point.ts';
import { startTemporal } from '../../../scripts/stack/temporal.ts';
import type { BackupResult } from '../../../workflows/contracts.ts';
import { policyOf } from '../../policies/policies.ts';
import { eventually } from '../../support/eventually.ts';
import { type Fault as S3Fault, type SeenRequest, startS3Proxy } from '../../support/s3-proxy.ts';
import { s3Store } from '../../support/s3-store.ts';
import { makeBucket, makeDatabase, services } from '../../support/services.ts';
import { startTcpProxy } from '../../support/tcp-proxy.ts';
import { Stage } from '../../workflows/stage.ts';
import type { Step } from '../../workflows/stand-ins.ts';
import { Faults, type Planned } from './faults.ts';

export interface Outcome {
  faults: Faults;
  /** Null when the job failed. */
  result: BackupResult | null;
  /** What a failed job said. */
  failure: string | null;
  /** What is wrong afterwards, one line each. */
  problems: string[];
}

/** In what one job fares otherwise than the others. */
export interface Hardship {
  /** Staging disk and the copy `disk`, absolute; the caller's own. */
  staging?: string;
  disk?: string;
  /** The policy of the copies' deadlines. */
  deadline?: string;
  /** Of bytes that do not compress, in the tree. */
  bytes?: number;
  /** The host name in the bucket's address. */
  host?: string;
  /** What befalls its requests to the bucket. */
  meddle?(seen: SeenRequest): S3Fault | null;
  /** Told of each attempt of each step, `uploadCopy disk` where it is of one copy, and runs it. */
  around?<T>(step: string, attempt: () => Promise<T>): Promise<T>;
}

/** Backs small trees up by the real workflow and the real activities, all in this process, each to places of its own. */
export interface SmallJobs {
  run(planned: Planned | null, hardship?: Hardship): Promise<Outcome>;
  /** The server's clock, in milliseconds since 1970. */
  now(): Promise<number>;
  close(): Promise<void>;
}

type Activity = (input: never) => Promise<unknown>;

/** What the input of every step has of this. */
interface Input {
  source?: string;
  copy?: string;
  pointId?: string;
  plan?: { source: string; pointId: string };
}

interface Job {
  faults: Faults;
  hardship: Hardship;
  activities: Partial<Record<Step, Activity>>;
  pointId: string | null;
}

export async function openSmallJobs({ timeSkipping = false } = {}): Promise<SmallJobs> {
  const dir = await mkdtemp(path.join(tmpdir(), 'every-call-'));
  const { s3, postgres } = await services();
  const [temporal, bucket, database, proxy] = await Promise.all([
    timeSkipping ? null : startTemporal({}),
    makeBucket(s3.east),
    makeDatabase(),
    startS3Proxy(s3.east),
  ]);
  const stage = temporal === null ? await Stage.open() : await Stage.on(temporal);
  const identity = await generateIdentity();
  const signingKey = readSigningKey(generateSigningKey());
  const keys = { recipients: [await recipientOf(identity)], trusted: [publicKeyOf(signingKey)] };
  const index = await openCatalog({ dsn: database.uri });
  await index.migrate();
  /** Of each job, by the name of its source. */
  const jobs = new Map<string, Job>();
  // The first part of a key is the job's prefix, which is its source's name.
  proxy.meddle = (seen) => {
    const job = jobs.get((seen.key || seen.prefix).split('/')[0] ?? '');
    return job?.hardship.meddle?.(seen) ?? job?.faults.s3(seen) ?? null;
  };
  const steps: Step[] = [
    ...(['planBackup', 'sealPoint', 'checkSealed', 'testRestore', 'signPoint', 'sendArtifact', 'uploadCopy'] as const),
    ...(['verifyCopy', 'publishCopy', 'withdrawCopy', 'discardStaging', 'recordPoint', 'planPrune'] as const),
    ...(['pruneCopy', 'recordPruned', 'concludeJob', 'resolveLeftovers'] as const),
    ...(['locatePoint', 'restorePoint', 'keepRestore', 'discardRestore'] as const),
  ];
  for (const step of steps) {
    stage.standIns.on(step, (async (input: Input) => {
      const source = input.source ?? input.plan?.source ?? input.pointId?.replace(/-[^-]+-[^-]+$/, '') ?? '';
      const job = jobs.get(source);
      const activity = job?.activities[step];
      if (!activity) throw new Error(`no job of ${source} does ${step}`);
      job.pointId = input.pointId ?? input.plan?.pointId ?? job.pointId;
      const attempt = () => activity(input as never);
      const name = input.copy === undefined ? step : `${step} ${input.copy}`;
      return job.hardship.around ? job.hardship.around(name, attempt) : attempt();
    }) as never);
  }

  // Held, so that not every job starts its threads anew.
  const threads = acquireFramePool();
  let started = 0;
  return {
    now: () => stage.now(),
    async run(planned, hardship = {}) {
      const source = `tree-${++started}`;
      const faults = new Faults(planned);
      const place = path.join(dir, source);
      const { staging = path.join(place, 'staging'), disk = path.join(place, 'disk') } = hardship;
      const tree = path.join(place, 'tree');
      for (const folder of [staging, disk, tree]) await mkdir(folder, { recursive: true });
      for (const name of ['one', 'two', 'three']) await writeFile(path.join(tree, name), `${name}\n`.repeat(500));
      if (hardship.bytes) await writeFile(path.join(tree, 'film'), randomBytes(hardship.bytes));
      const deadline = hardship.deadline ?? '24h';
      const policy = policyOf({
        site: { region: 'here' },
        staging: { path: staging },
        sources: [{ name: source, kind: 'files', path: tree }],
        copies: [
          { kind: 'directory', name: 'disk', region: 'here', path: disk, deadline },
          { kind: 's3', name: 'bucket', region: 'there', bucket, deadline },
        ],
      });
      Object.assign(policy.keys, keys);
      const bare: Store[] = [
        createDirectoryStore({ name: 'disk', path: disk }),
        s3Store(s3.east, bucket, { name: 'bucket', prefix: source }),
      ];
      const { port } = new URL(proxy.endpoint);
      const endpoint = hardship.host === undefined ? proxy.endpoint : `http://${hardship.host}:${port}`;
      const near = createDirectoryStore({ name: 'disk', path: disk, disk: faults.drive, silentMaxMs: 1_000 });
      const far = s3Store({ ...proxy, endpoint }, bucket, { name: 'bucket', prefix: source, idleMaxMs: 3_000 });
      const line = await startTcpProxy(postgres.port);
      const lineUri = new URL(database.uri);
      lineUri.port = String(line.port);
      const own = await openCatalog({ dsn: lineUri.href, silentMaxMs: 2_000 });
      const store = async (name: string) => (name === 'disk' ? faults.disk(near) : far);
      const watched = faults.catalog(own, line);
      const files = createFilesSource(filesSource.parse(policy.sources[0]));
      const given = { policy, store, source: async () => files };
      const job: Job = {
        faults,
        hardship,
        pointId: null,
        activities: {
          ...createCoordinationActivities({
            ...given,
            catalog: watched,
            announce: async () => [],
            openRun: async () => null,
          }),
          ...createHostActivities({
            ...given,
            signingKey: async () => signingKey,
            software: 'tests',
            isRunning: async () => true,
          }),
          ...createValidationActivities({
            ...given,
            identity: async () => identity,
            staging: createDirectoryStore({ name: 'staging', path: staging }),
          }),
          ...createTransferActivities({
            ...given,
            tellSending: () => Promise.reject(new Error('nothing here is large enough to be sent ahead')),
          }),
          ...createRecoveryActivities({
            ...given,
            catalog: watched,
            identity: async () => identity,
            resolveSecret: () => Promise.reject(new Error('no secret is asked for')),
          }),
          ...createRetentionActivities(given),
        },
      };
      jobs.set(source, job);
      try {
        const handle = await stage.start('backup', { source });
        const ended = await handle.result().then(
          (result: BackupResult) => ({ result, failure: null }),
          (error: Error) => ({ result: null, failure: rootOf(error).message }),
        );
        await cleanedUp(stage, job);
        faults.drive.goOn();
        await eventually(async () => {
          await near.check();
          if (faults.drive.openFiles() > 0) throw new Error(`${faults.drive.openFiles()} files are still open`);
        });
        const places = { source, bare, index, identity, trusted: keys.trusted, staging };
        const problems = await look(places, ended.result);
        const before = await inventory(places);
        // Whoever has met no fault yet meets it while the point is restored.
        if (ended.result && faults.struck === null) problems.push(...(await restored(stage, places, tree, place)));
        if (ended.result) await again(stage, places, ended.result);
        if (!isDeepStrictEqual(await inventory(places), before)) problems.push('doing it again changes something');
        if (planned?.layer === 'disk' && planned.kind === 'hang' && !faults.drive.hasHung())
          problems.push('nothing hung');
        return { faults, ...ended, problems };
      } finally {
        jobs.delete(source);
        await own.close();
        await line.stop();
        for (const opened of [...bare, near, far]) await opened.close();
        await rm(place, { recursive: true });
      }
    },
    async close() {
      await stage.close();
      await threads.release();
      await Promise.all([temporal?.stop(), proxy.stop(), index.close()]);
      await database.drop();
      await rm(dir, { recursive: true });
    },
  };
}

function rootOf(error: Error): Error {
  return error.cause instanceof Error ? rootOf(error.cause) : error;
}

/** Until the workflow that removes what the job had to leave, if there is one, has ended. */
async function cleanedUp({ client }: Stage, { pointId }: Job): Promise<void> {
  if (pointId === null) return;
  await client.workflow
    .getHandle(`cleanup/${pointId}`)
    .result()
    .catch((error: unknown) => {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
    });
}

interface Places {
  source: string;
  bare: Store[];
  index: Catalog;
  identity: string;
  trusted: string[];
  staging: string;
}

/** What is there that should not be, or is not as the job said. */
async function look(places: Places, result: BackupResult | null): Promise<string[]> {
  const { source, bare, index, identity, trusted, staging } = places;
  const problems: string[] = [];
  for (const name of await readdir(staging, { recursive: true })) {
    if (!/^\.(references|validation)(\/|$)/.test(name) && name !== source) problems.push(`staged: ${name}`);
  }
  for (const store of bare) {
    const outcome = result?.copies.find((c) => c.copy === store.name);
    if (outcome?.state === 'failed' && !outcome.error) problems.push(`${store.name} failed without a word`);
    for await (const { key } of store.listPending('')) problems.push(`${store.name}, under way: ${key}`);
    const objects: string[] = [];
    for await (const { key } of store.list(`${source}/`)) objects.push(key);
    const ids = objects.filter((key) => key.endsWith(`/${backupJsonName}`)).map((key) => key.split('/')[1] ?? '');
    const promised = outcome?.state === 'verified' ? [result?.pointId ?? ''] : [];
    if (ids.join() !== promised.join())
      problems.push(`${store.name} holds ${ids.join() || 'nothing'} for ${promised.join() || 'nothing'}`);
    for (const key of objects)
      if (!ids.includes(key.split('/')[1] ?? '')) problems.push(`${store.name}, of no point: ${key}`);
    for (const id of ids) {
      const reader = await openPoint({ store, source, id, identity, trusted });
      const { problems: found } = await verifyPoint(reader, { signal: new AbortController().signal });
      problems.push(...found.map((problem) => `${store.name}: ${problem}`));
    }
  }
  const known = (await index.points({ source })).map((p) => p.backup.id);
  if (known.join() !== (result?.pointId ?? '')) problems.push(`the catalog knows ${known.join() || 'nothing'}`);
  return [...problems, ...(await verifyCatalog({ catalog: only(index, source), stores: bare, trusted }))];
}

/** The catalog as if there were no other sources: the stores of a job hold no more. */
function only(index: Catalog, source: string): Catalog {
  return { ...index, points: (filter = {}) => index.points({ ...filter, source }) };
}

/** All that lies in the stores and on the staging disk, and all that the catalog says of it. */
async function inventory({ source, bare, index, staging }: Places): Promise<unknown[]> {
  const all: unknown[] = [(await readdir(staging, { recursive: true })).toSorted()];
  for (const store of bare) for await (const object of store.list('')) all.push({ in: store.name, ...object });
  return [...all, await index.points({ source })];
}

/** In what a restore of the point fails, or what it brings back differs. */
async function restored(stage: Stage, { source }: Places, tree: string, place: string): Promise<string[]> {
  const into = path.join(place, 'restored');
  const handle = await stage.start('restore', { source, into: { directory: into }, operator: 'Ada', reason: 'a test' });
  try {
    await handle.result();
    await promisify(execFile)('diff', ['-r', tree, into]);
    return [];
  } catch (error) {
    return [`restored otherwise: ${rootOf(error as Error).message}`];
  }
}

/** Whoever cleans up once more, and whoever makes the catalog again, finds everything done. */
async function again(stage: Stage, { source, bare, index, trusted }: Places, made: BackupResult): Promise<void> {
  const left = { source, pointId: made.pointId, host: 'local', staging: true, copies: made.copies.map((c) => c.copy) };
  await (await stage.start('cleanup', left)).result();
  await rebuildCatalog({ catalog: only(index, source), stores: bare, trusted });
}
