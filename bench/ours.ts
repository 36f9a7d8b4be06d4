import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import {
  followSealing,
  openPoint,
  openReference,
  publicKeyOf,
  readSigningKey,
  referenceDir,
  sealPoint,
  signBackupJson,
} from '../engine/artifact/index.ts';
import { openSource } from '../engine/sources/index.ts';
import { bytesSource, createDirectoryStore, fileSource, type PendingPut, type Store } from '../engine/stores/index.ts';
import { createS3Store } from '../engine/stores/s3/store.ts';
import { source as sourceSchema } from '../policies/policy.ts';
import { backupJsonName, pointPrefix, type SealedPoint, storedBytes } from '../policies/recovery-point.ts';
import { letHeapGrow } from '../workers/heap.ts';

/**
 * One whole run of the engine, as a process of its own, to be compared with other tools':
 * `ours.ts CONFIG.json backup ID [SINCE]`, `ours.ts CONFIG.json restore ID INTO`. Prints facts as one JSON line.
 */
export interface RunConfig {
  source: { name: string; kind: string } & Record<string, unknown>;
  staging: string;
  store: { directory: string } | { endpoint: string; accessKeyId: string; secretAccessKey: string; bucket: string };
  recipient: string;
  identity: string;
  /** Signs, as PEM. */
  key: string;
}

letHeapGrow();
const [file, mode, id, other] = process.argv.slice(2);
if (!file || !id) throw new Error('usage: ours.ts CONFIG.json backup|restore ID [SINCE|INTO]');
const config: RunConfig = JSON.parse(await readFile(file, 'utf8'));
const source = openSource(sourceSchema.parse(config.source), {
  resolveSecret: async (ref) => process.env[ref.slice(4)] ?? '',
});
const store = openStore(config.store);
const key = readSigningKey(config.key);
const signal = new AbortController().signal;
const prefix = pointPrefix(source.name, id);
const delay = monitorEventLoopDelay({ resolution: 5 });
delay.enable();
const facts = mode === 'backup' ? await backup(other) : await restore(other ?? '');
await store.close();
process.stdout.write(
  `${JSON.stringify({ ...facts, loopDelayMaxMs: Math.round(delay.max / 1e6), ...(await bytesRead()) })}\n`,
);

function openStore(where: RunConfig['store']): Store {
  if ('directory' in where) return createDirectoryStore({ name: 'bench', path: where.directory });
  const { bucket, endpoint, ...credentials } = where;
  return createS3Store({ name: 'bench', bucket, endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
}

/** As the pipeline does it: the artifact is sent while it is being sealed, and the rest after it. */
async function backup(since: string | undefined) {
  // Kept, so that the next one can be compared with what is left here.
  const dir = folderOf(id as string);
  const scratchDir = path.join(dir, '.scratch');
  await rm(dir, { recursive: true, force: true });
  await mkdir(scratchDir, { recursive: true });
  const base = since === undefined ? null : await baseOf(since);
  const started = performance.now();
  const lap = laps();
  const sending = sendArtifact(dir);
  const sealed = await sealPoint({
    dir,
    format: base ? 'blocks' : source.format,
    point: {
      id: id as string,
      source: { name: source.name, kind: source.kind, host: 'bench' },
      level: base ? 'incremental' : 'full',
      parent: base?.id ?? null,
      classes: ['manual'],
    },
    recipients: [config.recipient],
    software: 'bench',
    signal,
    withReference: true,
    others: base?.artifacts ?? [],
    seal: (writer) => source.seal(writer, { scratchDir, signal, onProgress: () => {}, ...(base ? { base } : {}) }),
  });
  const sealedMs = lap();
  const pending = await sending;
  const sentMs = lap();
  await store.completePut(pending);
  const joinedMs = lap();
  for (const object of sealed.objects.filter((o) => o.role !== 'artifact'))
    await store.put(prefix + object.name, fileSource(path.join(dir, object.name), object), {});
  const validation = { finishedAt: sealed.sealedAt, passed: true, checks: [] };
  const description = Buffer.from(signBackupJson({ ...sealed, validation }, key));
  await store.put(prefix + backupJsonName, bytesSource(description), {});
  await writeFile(path.join(dir, 'bench.json'), JSON.stringify(sealed));
  return {
    startedMs: Math.round(started),
    sealedMs,
    /** The artifact's last parts. */
    sentMs,
    /** The store makes one object of them. */
    joinedMs,
    /** The other objects. */
    publishedMs: lap(),
    stored: storedBytes(sealed) + description.length,
    sourceBytes: sealed.content.sourceBytes,
  };
}

/** Returns how long it is since it was last asked, milliseconds. */
function laps(): () => number {
  let last = performance.now();
  return () => {
    const before = last;
    last = performance.now();
    return Math.round(last - before);
  };
}

async function sendArtifact(dir: string): Promise<PendingPut> {
  const artifact = await followSealing(dir, { signal, beginsWithinMs: 60_000 });
  if (!artifact) throw new Error('sealing did not begin');
  try {
    return await store.beginPut(prefix + artifact.name, artifact, { signal });
  } finally {
    await artifact.close();
  }
}

function folderOf(pointId: string): string {
  return referenceDir(config.staging, { source: source.name, pointId });
}

async function baseOf(since: string) {
  const dir = folderOf(since);
  const sealed: SealedPoint = JSON.parse(await readFile(path.join(dir, 'bench.json'), 'utf8'));
  const manifest = sealed.objects.find((o) => o.role === 'manifest')?.sha256 ?? '';
  const found = await openReference(dir, { id: since, manifest });
  if ('problem' in found) throw new Error(found.problem);
  return found;
}

async function restore(into: string) {
  const trusted = [publicKeyOf(key)];
  const point = await openPoint({ store, source: source.name, id: id as string, identity: config.identity, trusted });
  const { bytes } = await source.restore(point, { into, signal, onProgress: () => {} });
  return { bytes };
}

/** What this process asked of the kernel by read calls. */
async function bytesRead(): Promise<{ rchar: number }> {
  const io = await readFile('/proc/self/io', 'utf8');
  return { rchar: Number(/rchar: (\d+)/.exec(io)?.[1] ?? 0) };
}
