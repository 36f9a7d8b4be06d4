import { execFile } from 'node:child_process';
import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { isDeepStrictEqual, promisify } from 'node:util';
import pg from 'pg';
import { createDirectoryStore, type Store } from '../../../engine/stores/index.ts';
import { backupJsonName } from '../../../policies/recovery-point.ts';
import type { BackupResult, RestoreResult, RetentionResult } from '../../../workflows/contracts.ts';
import { leftovers } from '../../support/leftovers.ts';
import { s3Store } from '../../support/s3-store.ts';
import { type Ending, startJob } from './jobs.ts';
import type { Storm } from './storm.ts';
import { type Source, sources, type World } from './world.ts';

const run = promisify(execFile);

/**
 * What is wrong in the world once a storm is over, one line each; empty when all is well. First each source is backed up
 * once more with nothing killed, which must succeed: a job also takes up what others had to leave.
 *
 * - No point is lost: what a job called good lies, and verifies, in every copy that it named, unless expiry let it go.
 * - None is doubled, and none is there that no job called good.
 * - What restores called restored is what was protected; those that failed have left nothing.
 * - Nothing is left over, and doing it all again changes nothing.
 *
 * @param earlier ids of points that are there from before the storm; those of now are added
 */
export async function examine(world: World, { jobs }: Storm, earlier: Set<string>): Promise<string[]> {
  const stores = openStores(world);
  try {
    const problems: string[] = [];
    const made: BackupResult[] = [];
    for (const { kind, ending } of jobs)
      if (kind === 'backup' && 'result' in ending) made.push(ending.result as BackupResult);
    for (const { source, ending } of await Promise.all(
      sources.map((source) => calm<BackupResult>(world, 'backup', source)),
    )) {
      if (!('result' in ending)) problems.push(`a backup of ${source} after the storm failed: ${ending.failure}`);
      else made.push(ending.result);
      if ('result' in ending && ending.result.outcome !== 'succeeded') {
        problems.push(
          `a backup of ${source} after the storm was ${ending.result.outcome}: ${JSON.stringify(ending.result)}`,
        );
      }
    }
    problems.push(...(await pointProblems(world, stores, made, earlier)));
    problems.push(...(await restoreProblems(world, jobs)));
    for (const source of sources) problems.push(...(await sampleProblems(world, source)));
    problems.push(...(await againProblems(world, stores)));
    problems.push(...(await leftoverProblems(world)));
    for (const { pointId } of made) earlier.add(pointId);
    return problems;
  } finally {
    for (const store of stores) await store.close();
  }
}

async function calm<T>(
  world: World,
  kind: 'backup' | 'retention' | 'restore',
  source: Source,
): Promise<{ source: Source; ending: Ending<T> }> {
  const job = await startJob(world, kind, source);
  return { source, ending: (await job.ended) as Ending<T> };
}

function openStores({ whole: { policy, stack } }: World): Store[] {
  return policy.copies.map((copy) => {
    if (copy.kind === 'directory') return createDirectoryStore(copy);
    return s3Store(copy.region === stack.east.region ? stack.east : stack.west, copy.bucket, { name: copy.name });
  });
}

async function idsIn(store: Store): Promise<Set<string>> {
  const ids = new Set<string>();
  for await (const { key } of store.list('')) {
    if (path.basename(key) === backupJsonName) ids.add(path.basename(path.dirname(key)));
  }
  return ids;
}

interface Removal {
  pointId: string;
  outcome: string | null;
}

async function pointProblems(
  { whole }: World,
  stores: Store[],
  made: BackupResult[],
  earlier: Set<string>,
): Promise<string[]> {
  const problems: string[] = [];
  const { removals } = await whole.backupctl<{ removals: Removal[] }>('retention', 'history', '--limit', '10000');
  const expired = new Set(removals.map((r) => r.pointId));
  const known = new Set([...earlier, ...made.map((m) => m.pointId)]);
  if (new Set(made.map((m) => m.pointId)).size !== made.length) problems.push('two jobs called one point their own');
  for (const store of stores) {
    const there = await idsIn(store);
    for (const id of there) if (!known.has(id)) problems.push(`${store.name} holds ${id}, which no job called good`);
    // Of the disk, older points are pruned.
    if (store.kind === 'directory') continue;
    for (const { pointId, copies } of made) {
      const isPromised = copies.some((c) => c.copy === store.name && c.state === 'verified');
      if (isPromised && !there.has(pointId) && !expired.has(pointId))
        problems.push(`${store.name} has lost ${pointId}`);
    }
  }
  const index = await whole.tryBackupctl('catalog', 'verify');
  if (index.exitCode !== 0) problems.push(`the catalog differs from the stores: ${index.stdout}${index.stderr}`);
  const verified = await whole.tryBackupctl('backup', 'verify', '--all');
  if (verified.exitCode !== 0) problems.push(`a point does not verify: ${verified.stdout}${verified.stderr}`);
  return problems;
}

async function restoreProblems(world: World, jobs: Storm['jobs']): Promise<string[]> {
  const problems: string[] = [];
  for (const { kind, source, into, ending } of jobs) {
    if (kind !== 'restore') continue;
    if ('result' in ending) problems.push(...(await differences(world, source, into)));
    else {
      const left = await readdir(into).catch(() => []);
      if (left.length > 0)
        problems.push(`a restore of ${source} that failed (${ending.failure}) left ${left.join(', ')} in ${into}`);
    }
    await rm(into, { recursive: true, force: true });
  }
  return problems;
}

/** In what a folder that was restored differs from its source. */
async function differences({ folder, source: server }: World, source: Source, into: string): Promise<string[]> {
  try {
    if (source === 'cluster') await run(path.join(server().binDir, 'pg_verifybackup'), ['-n', into]);
    else await run('diff', ['-r', '--no-dereference', folder(source), into]);
    return [];
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    return [`what was restored of ${source} differs: ${String(error)} ${stdout ?? ''}${stderr ?? ''}`.slice(0, 2_000)];
  }
}

/** Restores the newest point of a source, and compares it with what was protected. */
async function sampleProblems(world: World, source: Source): Promise<string[]> {
  if (source === 'shop') return shopProblems(world);
  const job = await startJob(world, 'restore', source);
  const ending = await job.ended;
  if (!('result' in ending)) return [`${source} could not be restored after the storm: ${ending.failure}`];
  const found = await differences(world, source, job.into);
  await rm(job.into, { recursive: true, force: true });
  return found;
}

const shopFingerprint =
  "SELECT count(*), sum(id), md5(string_agg(md5(pixels), '' ORDER BY id)), max(taken) FROM photos";

async function shopProblems({ whole, source }: World): Promise<string[]> {
  const { postgres } = whole.stack;
  const ask = async (uri: string, text: string) => {
    const client = new pg.Client({ connectionString: uri });
    await client.connect();
    try {
      return (await client.query(text)).rows as unknown[];
    } finally {
      await client.end();
    }
  };
  await ask(postgres.uri(), 'CREATE DATABASE shop_again TEMPLATE template0');
  try {
    const into = `postgresql://${postgres.user}@${postgres.host}:${postgres.port}/shop_again`;
    const person = ['--operator', 'storm', '--reason', 'to compare'];
    await whole.backupctl<RestoreResult>('restore', 'shop', '--into', into, ...person, '--wait');
    const restored = await ask(postgres.uri('shop_again'), shopFingerprint);
    const original = await ask(source().uri('shop'), shopFingerprint);
    return isDeepStrictEqual(restored, original)
      ? []
      : [`shop came back otherwise: ${JSON.stringify({ restored, original })}`];
  } finally {
    await ask(postgres.uri(), 'DROP DATABASE shop_again WITH (FORCE)');
  }
}

/** Expires until nothing more may go; then neither that nor the making of the catalog anew may change anything. */
async function againProblems(world: World, stores: Store[]): Promise<string[]> {
  const expire = async (): Promise<RetentionResult['sources']> => {
    const { ending } = await calm<RetentionResult>(world, 'retention', 'tree');
    return 'result' in ending ? ending.result.sources : Promise.reject(new Error(`expiry failed: ${ending.failure}`));
  };
  for (;;) {
    const found = await expire();
    const bad = found.filter((s) => s.outcome === 'stopped' || s.refused.length > 0);
    if (bad.length > 0) return [`expiry does not do its work: ${JSON.stringify(bad)}`];
    if (found.every((s) => s.removed.length === 0 && s.waiting === 0)) break;
    await setTimeout(300);
  }
  const before = await inventory(world, stores);
  await expire();
  await world.whole.backupctl('catalog', 'rebuild', '--all');
  const after = await inventory(world, stores);
  const problems = isDeepStrictEqual(before, after)
    ? []
    : [`a second run changed something: ${JSON.stringify({ before, after })}`];
  for (const source of sources) {
    const count = after.points.filter((id) => id.startsWith(`${source}-`)).length;
    if (count !== 1) problems.push(`of ${source}, of which all but the newest may go, there are ${count} points`);
  }
  return problems;
}

/** All objects of all stores, and all points of the catalog. */
async function inventory({ whole }: World, stores: Store[]): Promise<{ objects: string[]; points: string[] }> {
  const objects: string[] = [];
  for (const store of stores) {
    for await (const { key, bytes, modifiedAt } of store.list(''))
      objects.push(`${store.name}/${key} ${bytes} ${modifiedAt}`);
  }
  const { points } = await whole.backupctl<{ points: { id: string }[] }>('backup', 'list', '--limit', '1000');
  return { objects, points: points.map((p) => p.id) };
}

const settleMs = 90_000;

/** Sessions and processes take a moment to end. */
async function leftoverProblems({ whole, source }: World): Promise<string[]> {
  const until = performance.now() + settleMs;
  for (;;) {
    const found = await leftovers(whole, [source()]);
    if (found.length === 0 || performance.now() > until) return found.map((line) => `left over: ${line}`);
    await setTimeout(500);
  }
}
