import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import {
  openPoint,
  openReference,
  publicKeyOf,
  readSigningKey,
  referenceDir,
  sealPoint,
  signBackupJson,
} from '../engine/artifact/index.ts';
import { openSource } from '../engine/sources/index.ts';
import { bytesSource, createDirectoryStore, fileSource } from '../engine/stores/index.ts';
import { source as sourceSchema } from '../policies/policy.ts';
import { backupJsonName, pointPrefix, type SealedPoint, storedBytes } from '../policies/recovery-point.ts';

/**
 * One whole run of the engine on a cluster, as a process of its own, with a folder for a store:
 * `physical-run.ts CONFIG.json backup ID [SINCE]`, `physical-run.ts CONFIG.json restore ID INTO`. Prints facts as one JSON
 * line.
 */
export interface RunConfig {
  source: unknown;
  staging: string;
  store: string;
  recipient: string;
  identity: string;
  /** Signs, as PEM. */
  key: string;
}

const [file = '', mode, id = '', other] = process.argv.slice(2);
const config: RunConfig = JSON.parse(await readFile(file, 'utf8'));
const source = openSource(sourceSchema.parse(config.source), { resolveSecret: async () => '' });
const store = createDirectoryStore({ name: 'bench', path: config.store });
const key = readSigningKey(config.key);
const signal = new AbortController().signal;
const prefix = pointPrefix(source.name, id);
const delay = monitorEventLoopDelay({ resolution: 5 });
delay.enable();
const facts = mode === 'backup' ? await backup(other) : await restore(other ?? '');
await store.close();
process.stdout.write(`${JSON.stringify({ ...facts, loopDelayMaxMs: Math.round(delay.max / 1e6) })}\n`);

async function backup(since: string | undefined) {
  // Kept, so that the next one can be compared with what is left here.
  const dir = referenceDir(config.staging, { source: source.name, pointId: id });
  const scratchDir = path.join(dir, '.scratch');
  await rm(dir, { recursive: true, force: true });
  await mkdir(scratchDir, { recursive: true });
  const base = since === undefined ? null : await baseOf(since);
  const from = performance.now();
  const sealed = await sealPoint({
    dir,
    format: base ? 'blocks' : source.format,
    point: {
      id,
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
  const sealedMs = performance.now() - from;
  for (const object of sealed.objects) {
    await store.put(prefix + object.name, fileSource(path.join(dir, object.name), object), {});
  }
  const validation = { finishedAt: sealed.sealedAt, passed: true, checks: [] };
  const description = Buffer.from(signBackupJson({ ...sealed, validation }, key));
  await store.put(prefix + backupJsonName, bytesSource(description), {});
  await writeFile(path.join(dir, 'sealed.json'), JSON.stringify(sealed));
  return { sealedMs: Math.round(sealedMs), stored: storedBytes(sealed), sourceBytes: sealed.content.sourceBytes };
}

async function baseOf(since: string) {
  const dir = referenceDir(config.staging, { source: source.name, pointId: since });
  const sealed: SealedPoint = JSON.parse(await readFile(path.join(dir, 'sealed.json'), 'utf8'));
  const manifest = sealed.objects.find((o) => o.role === 'manifest')?.sha256 ?? '';
  const found = await openReference(dir, { id: since, manifest });
  if ('problem' in found) throw new Error(found.problem);
  return found;
}

async function restore(into: string) {
  const trusted = [publicKeyOf(key)];
  const point = await openPoint({ store, source: source.name, id, identity: config.identity, trusted });
  const { bytes } = await source.restore(point, { into, signal, onProgress: () => {} });
  return { bytes };
}
