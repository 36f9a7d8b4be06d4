import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { acquireFramePool } from '../../../engine/artifact/frame-pool.ts';
import type { ArtifactWriter, Entry } from '../../../engine/artifact/index.ts';
import {
  generateIdentity,
  openPoint,
  type PointReader,
  recipientOf,
  type SealPointOptions,
  sealPoint,
} from '../../../engine/artifact/index.ts';
import { StreamEncryptor } from '../../../engine/artifact/tink.ts';
import { createDirectoryStore, type Store } from '../../../engine/stores/index.ts';
import { type Content, type ObjectRole, pointPrefix, type SealedPoint } from '../../../policies/recovery-point.ts';

/** A folder that plays staging disk and store, and an identity to open what lies there. */
export interface Place {
  dir: string;
  store: Store;
  identity: string;
  recipient: string;
  remove(): Promise<void>;
}

export async function makePlace(): Promise<Place> {
  const dir = mkdtempSync(path.join(tmpdir(), 'artifact-'));
  const identity = await generateIdentity();
  // Held, so that not every point starts its threads anew.
  const pool = acquireFramePool();
  return {
    dir,
    store: createDirectoryStore({ name: 'staging', path: dir }),
    identity,
    recipient: await recipientOf(identity),
    async remove() {
      rmSync(dir, { recursive: true, force: true });
      await pool.release();
    },
  };
}

export const source = { name: 'shop', kind: 'files', host: 'local' } as const;
let serial = 0;

export interface SealHere extends Partial<Pick<SealPointOptions, 'recipients' | 'signal' | 'dir'>> {
  format?: Content['format'];
  /** Told where it will lie, before it is begun. */
  onDir?: (dir: string) => void;
}

/** Seals what the body writes as a point of its own. */
export async function sealHere(
  place: Place,
  body: (writer: ArtifactWriter) => Promise<void>,
  { format = 'parts', onDir, ...options }: SealHere = {},
): Promise<SealedPoint> {
  const dir = options.dir ?? pointDir(place, `shop-${++serial}`);
  const id = path.basename(dir);
  mkdirSync(dir, { recursive: true });
  onDir?.(dir);
  return sealPoint({
    point: { id, source, level: 'full', parent: null, classes: ['manual'] },
    format,
    recipients: [place.recipient],
    software: 'tests',
    signal: new AbortController().signal,
    ...options,
    dir,
    seal: async (writer) => {
      await body(writer);
      const content = { format, bytes: 0, sourceBytes: 0, entries: 0, unstable: 0 };
      return { content, facts: {}, capturedAt: '2026-01-02T03:04:05Z' };
    },
  });
}

/** Seals each named content as a streamed part. */
export function sealParts(
  place: Place,
  parts: Record<string, Uint8Array>,
  options: SealHere = {},
): Promise<SealedPoint> {
  return sealHere(
    place,
    async (writer) => {
      for (const [name, bytes] of Object.entries(parts)) {
        await writer.entry(entryOf(name, { streamed: true }));
        await writer.stream(chunked(bytes));
      }
    },
    options,
  );
}

export function openHere(place: Place, point: SealedPoint, store: Store = place.store): Promise<PointReader> {
  return openPoint({ store, source: point.source.name, id: point.id, identity: place.identity, sealed: true });
}

export function pointDir(place: Place, id: string): string {
  return path.join(place.dir, pointPrefix(source.name, id));
}

/** Seals other content into an object of a staged point, with the point's own key, and describes it so. */
export async function reseal(place: Place, point: SealedPoint, role: ObjectRole, plain: Uint8Array): Promise<void> {
  const { key } = await openHere(place, point);
  const out: Buffer[] = [];
  const associatedData = `${point.id}/${role}`;
  const encryptor = new StreamEncryptor({ key, associatedData }, (chunk) => out.push(Buffer.from(chunk)));
  encryptor.write(plain);
  encryptor.end();
  const bytes = Buffer.concat(out);
  const dir = pointDir(place, point.id);
  const description = JSON.parse(readFileSync(path.join(dir, 'sealed.json'), 'utf8')) as SealedPoint;
  const object = description.objects.find((o) => o.role === role);
  if (!object) throw new Error(`no ${role}`);
  writeFileSync(path.join(dir, object.name), bytes);
  object.bytes = bytes.length;
  object.sha256 = createHash('sha256').update(bytes).digest('hex');
  writeFileSync(path.join(dir, 'sealed.json'), JSON.stringify(description));
}

export function entryOf(name: string | Uint8Array, more: Partial<Entry> = {}): Entry {
  return {
    path: typeof name === 'string' ? Buffer.from(name) : name,
    type: 'file',
    mode: 0o600,
    uid: 0,
    gid: 0,
    user: 'root',
    group: 'root',
    mtimeNs: '1700000000123456789',
    ctimeNs: '1700000000123456789',
    dev: '0',
    ino: '0',
    size: 0,
    ...more,
  };
}

/** The bytes in pieces of uneven length, as a pipe brings them. */
export function chunked(bytes: Uint8Array): Readable {
  const chunks: Buffer[] = [];
  for (let at = 0, size = 65_521; at < bytes.length; at += size) chunks.push(Buffer.from(bytes.slice(at, at + size)));
  return Readable.from(chunks, { objectMode: false });
}

export async function read(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Bytes that no compressor makes smaller, the same ones at every run. */
export function noise(bytes: number, seed = 1): Buffer {
  const words = new Int32Array(Math.ceil(bytes / 4));
  const whole = Math.floor(bytes / 4);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < whole; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return Buffer.from(words.buffer, 0, bytes);
}

/** The Failure that the work ends with. */
export async function failureOf(work: Promise<unknown> | (() => unknown)): Promise<{ type: string; message: string }> {
  try {
    await (typeof work === 'function' ? work() : work);
  } catch (error) {
    const { type, message } = error as { type?: string; message: string };
    return { type: type ?? 'none', message };
  }
  throw new Error('it was expected to fail, and did not');
}
