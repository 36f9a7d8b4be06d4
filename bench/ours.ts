import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { followSealing, openPoint, sealPoint } from '../engine/artifact/index.ts';
import { openSource } from '../engine/sources/index.ts';
import { createS3Store, fileSource, type PendingPut } from '../engine/stores/index.ts';
import { source as sourceSchema } from '../policies/policy.ts';
import { pointPrefix } from '../policies/recovery-point.ts';
import { letHeapGrow } from '../workers/heap.ts';

/**
 * One whole run of the engine, as a process of its own, to be compared with other tools':
 * `ours.ts backup CONFIG.json`, `ours.ts restore CONFIG.json INTO`. Prints facts as one JSON line.
 */
interface Config {
  source: unknown;
  staging: string;
  s3: { endpoint: string; accessKeyId: string; secretAccessKey: string; bucket: string };
  recipient: string;
  identity: string;
}

letHeapGrow();
const [mode, file, into = ''] = process.argv.slice(2);
if (!file) throw new Error('usage: ours.ts backup|restore CONFIG.json [INTO]');
const config: Config = JSON.parse(await readFile(file, 'utf8'));
const source = openSource(sourceSchema.parse(config.source), {
  resolveSecret: async (ref) => process.env[ref.slice(4)] ?? '',
});
const { bucket, endpoint, ...credentials } = config.s3;
const store = createS3Store({
  name: 'bench',
  bucket,
  endpoint,
  region: 'us-east-1',
  forcePathStyle: true,
  credentials,
});
/** Every run writes the same point, into a bucket of its own. */
const pointId = 'bench-point';
const signal = new AbortController().signal;
const prefix = pointPrefix(source.name, pointId);
const delay = monitorEventLoopDelay({ resolution: 5 });
delay.enable();
const facts = mode === 'backup' ? await backup() : await restore();
await store.close();
process.stdout.write(
  `${JSON.stringify({ ...facts, loopDelayMaxMs: Math.round(delay.max / 1e6), ...(await bytesRead()) })}\n`,
);

/** As the pipeline does it: the artifact is sent while it is being sealed, and the rest after it. */
async function backup() {
  const dir = path.join(config.staging, prefix);
  await rm(dir, { recursive: true, force: true });
  await mkdir(path.join(dir, '.scratch'), { recursive: true });
  const from = performance.now();
  const sending = sendArtifact(dir);
  const sealed = await sealPoint({
    dir,
    point: {
      id: pointId,
      source: { name: source.name, kind: source.kind, host: 'bench' },
      level: 'full',
      parent: null,
      classes: ['manual'],
    },
    format: source.format,
    recipients: [config.recipient],
    software: 'bench',
    signal,
    seal: (writer) => source.seal(writer, { scratchDir: path.join(dir, '.scratch'), signal, onProgress: () => {} }),
  });
  const sealedMs = performance.now() - from;
  await store.completePut(await sending);
  for (const object of sealed.objects.filter((o) => o.role !== 'artifact'))
    await store.put(prefix + object.name, fileSource(path.join(dir, object.name), object), {});
  const description = path.join(dir, 'sealed.json');
  await store.put(`${prefix}sealed.json`, fileSource(description, await describe(description)), {});
  return {
    sealedMs: Math.round(sealedMs),
    uploadedMs: Math.round(performance.now() - from - sealedMs),
    stored: sealed.objects.reduce((sum, o) => sum + o.bytes, 0),
    sourceBytes: sealed.content.sourceBytes,
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

async function describe(name: string): Promise<{ bytes: number; sha256: string }> {
  return {
    bytes: (await stat(name)).size,
    sha256: createHash('sha256')
      .update(await readFile(name))
      .digest('hex'),
  };
}

async function restore() {
  const point = await openPoint({ store, source: source.name, id: pointId, identity: config.identity, sealed: true });
  await source.restore(point, { into, signal, onProgress: () => {} });
  return {};
}

/** What this process asked of the kernel by read calls, and of the disk. */
async function bytesRead(): Promise<{ rchar: number }> {
  const io = await readFile('/proc/self/io', 'utf8');
  return { rchar: Number(/rchar: (\d+)/.exec(io)?.[1] ?? 0) };
}
