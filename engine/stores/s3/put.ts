import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListPartsCommand,
  PutObjectCommand,
  type ServerSideEncryption,
  type StorageClass,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { Failure, isFailure } from '../../../policies/failure.ts';
import type { PendingPut, PutOptions, PutSource, Store, StoredObject } from '../store.ts';
import type { S3Context } from './context.ts';
import { asFailure } from './errors.ts';

/** S3's own limit. */
const partsMax = 10_000;

/** Of a pending multipart upload. Small objects are put at completion and need no upload; they keep nothing. */
interface Token {
  uploadId: string;
}

interface Part {
  number: number;
  offset: number;
  bytes: number;
}

interface DonePart extends Part {
  etag: string;
  /** base64 */
  sha256: string;
}

type Puts = Pick<Store, 'put' | 'beginPut' | 'completePut' | 'abortPut'>;

/** Puts: one request for what fits into a part, multipart with resume for what does not; never over another object. */
export function createPuts(context: S3Context, store: () => Store): Puts {
  const { client, at, call } = context;
  const { partBytes, concurrency } = context.options;

  const puts: Puts = {
    async put(key, source, options) {
      if (source.bytes > partBytes) {
        const pending = await puts.beginPut(key, source, options);
        return puts.completePut(pending);
      }
      const body = await readSource(source, 0, source.bytes, key);
      const sha256 = createHash('sha256').update(body).digest();
      if (sha256.toString('hex') !== source.sha256) throw notAsPromised(key, context.options.name);
      return call(key, async () => {
        try {
          await client.send(
            new PutObjectCommand({
              ...at(key),
              ...common(source, options),
              Body: body,
              ContentLength: source.bytes,
              ChecksumSHA256: sha256.toString('base64'),
              IfNoneMatch: '*',
            }),
            options.signal ? { abortSignal: options.signal } : {},
          );
        } catch (error) {
          if (!isFailure(asFailure(error, ''), 'ObjectExists')) throw error;
          return assertSame(key, source);
        }
        options.onProgress?.({ bytesDone: source.bytes, bytesTotal: source.bytes, resume: '' });
        return store().head(key);
      });
    },

    beginPut: (key, source, options) =>
      call(key, async () => {
        const existing = await headOrNull(key);
        if (existing) {
          await assertSame(key, source);
          return { key, bytes: source.bytes, sha256: source.sha256, token: JSON.stringify({ uploadId: '' }) };
        }
        const known = await resumed(key, options.resume);
        const uploadId = known?.uploadId ?? (await create(key, source, options));
        const token = JSON.stringify({ uploadId } satisfies Token);
        const done = new Map(known?.done.map((p) => [p.number, p]) ?? []);
        let bytesDone = 0;
        const report = () => options.onProgress?.({ bytesDone, bytesTotal: source.bytes, resume: token });
        report();
        const parts = partsOf(source.bytes, partBytes);
        const missing: Part[] = [];
        for (const part of parts) {
          const there = done.get(part.number);
          if (there && (await holds(there, part, source, key))) bytesDone += part.bytes;
          else missing.push(part);
        }
        report();
        await eachOf(missing, concurrency, async (part) => {
          options.signal?.throwIfAborted();
          const body = await readSource(source, part.offset, part.bytes, key);
          await client.send(
            new UploadPartCommand({
              ...at(key),
              UploadId: uploadId,
              PartNumber: part.number,
              Body: body,
              ContentLength: part.bytes,
              ChecksumSHA256: createHash('sha256').update(body).digest('base64'),
            }),
            options.signal ? { abortSignal: options.signal } : {},
          );
          bytesDone += part.bytes;
          report();
        });
        return { key, bytes: source.bytes, sha256: source.sha256, token };
      }),

    completePut: (pending) =>
      call(pending.key, async () => {
        const { uploadId } = parseToken(pending.token);
        const parts = uploadId === '' ? null : await listParts(pending.key, uploadId);
        if (parts === null) return assertSame(pending.key, pending);
        const total = parts.reduce((sum, p) => sum + p.bytes, 0);
        if (total !== pending.bytes) throw notAsPromised(pending.key, context.options.name);
        try {
          const completed = await client.send(
            new CompleteMultipartUploadCommand({
              ...at(pending.key),
              UploadId: uploadId,
              IfNoneMatch: '*',
              MultipartUpload: {
                Parts: parts.map((p) => ({
                  PartNumber: p.number,
                  ETag: p.etag,
                  ...(p.sha256 ? { ChecksumSHA256: p.sha256 } : {}),
                })),
              },
            }),
          );
          assertComposite(pending.key, parts, completed.ChecksumSHA256);
        } catch (error) {
          if (!isFailure(asFailure(error, ''), 'ObjectExists')) throw error;
          await puts.abortPut(pending);
          return assertSame(pending.key, pending);
        }
        return store().head(pending.key);
      }),

    abortPut: (pending) =>
      call(pending.key, async () => {
        const { uploadId } = parseToken(pending.token);
        if (uploadId === '') return;
        try {
          await client.send(new AbortMultipartUploadCommand({ ...at(pending.key), UploadId: uploadId }));
        } catch (error) {
          if (!isNoSuchUpload(error)) throw error;
        }
      }),
  };
  return puts;

  function common(source: Pick<PutSource, 'sha256'>, options: PutOptions) {
    const { storageClass, sse, tags } = context.options;
    const allTags = { ...tags, ...options.tags };
    return {
      // S3 keeps a checksum of checksums for multipart uploads; the whole one travels beside it.
      Metadata: { ...options.metadata, sha256: source.sha256 },
      ...(storageClass ? { StorageClass: storageClass as StorageClass } : {}),
      ...(sse ? { ServerSideEncryption: sse as ServerSideEncryption } : {}),
      ...(Object.keys(allTags).length > 0 ? { Tagging: new URLSearchParams(allTags).toString() } : {}),
      ...(options.lock
        ? {
            ObjectLockMode: options.lock.mode === 'compliance' ? ('COMPLIANCE' as const) : ('GOVERNANCE' as const),
            ObjectLockRetainUntilDate: new Date(options.lock.until),
          }
        : {}),
    };
  }

  async function create(key: string, source: PutSource, options: PutOptions): Promise<string> {
    const created = await client.send(
      new CreateMultipartUploadCommand({ ...at(key), ...common(source, options), ChecksumAlgorithm: 'SHA256' }),
    );
    if (!created.UploadId) throw new Error('the server gave no upload id');
    return created.UploadId;
  }

  /**
   * The upload to go on with: the one of the token, or, when an attempt died before it could tell its token, the one
   * that lies under this very key. A key is written by one job only, so it is ours.
   */
  async function resumed(
    key: string,
    token: string | undefined,
  ): Promise<{ uploadId: string; done: DonePart[] } | null> {
    const ids = token ? [parseToken(token).uploadId] : [];
    for await (const pending of store().listPending(key)) {
      const { uploadId } = parseToken(pending.token);
      if (pending.key === key && !ids.includes(uploadId)) ids.push(uploadId);
    }
    for (const uploadId of ids.filter((id) => id !== '')) {
      const done = await listParts(key, uploadId);
      if (done) return { uploadId, done };
    }
    return null;
  }

  /** Null when the server no longer knows the upload: completed, or aborted. */
  async function listParts(key: string, uploadId: string): Promise<DonePart[] | null> {
    const parts: DonePart[] = [];
    let marker: string | undefined;
    do {
      try {
        const page = await client.send(
          new ListPartsCommand({ ...at(key), UploadId: uploadId, ...(marker ? { PartNumberMarker: marker } : {}) }),
        );
        for (const p of page.Parts ?? []) {
          parts.push({
            number: p.PartNumber ?? 0,
            offset: 0,
            bytes: p.Size ?? 0,
            etag: p.ETag ?? '',
            sha256: p.ChecksumSHA256 ?? '',
          });
        }
        marker = page.IsTruncated ? page.NextPartNumberMarker : undefined;
      } catch (error) {
        if (isNoSuchUpload(error)) return null;
        throw error;
      }
    } while (marker);
    return parts.sort((a, b) => a.number - b.number);
  }

  async function headOrNull(key: string): Promise<StoredObject | null> {
    try {
      return await store().head(key);
    } catch (error) {
      if (isFailure(error, 'ObjectMissing')) return null;
      throw error;
    }
  }

  async function assertSame(key: string, expect: Pick<PendingPut, 'bytes' | 'sha256'>): Promise<StoredObject> {
    const found = await store().head(key);
    if (found.bytes === expect.bytes && found.sha256 === expect.sha256) return found;
    throw new Failure('ObjectExists', `${key} is in ${context.options.name} already, with other content.`, {
      next: 'Nothing was overwritten. Objects are written once; use another key.',
    });
  }
}

/** The composite checksum that the server answers: SHA-256 over the parts' SHA-256s. */
function assertComposite(key: string, parts: DonePart[], answered: string | undefined): void {
  if (!answered || parts.some((p) => p.sha256 === '')) return;
  const all = createHash('sha256');
  for (const part of parts) all.update(Buffer.from(part.sha256, 'base64'));
  const expected = `${all.digest('base64')}-${parts.length}`;
  if (answered === expected || answered === expected.replace(/-\d+$/, '')) return;
  throw new Failure('ChecksumMismatch', `${key}: the server's checksum of the whole is ${answered}, not ${expected}.`, {
    next: 'The copy does not count; it is made again by itself.',
  });
}

/** Parts of equal size; larger than asked for when there would be more than S3 takes. */
function partsOf(bytes: number, wanted: number): Part[] {
  const size = Math.max(wanted, Math.ceil(bytes / partsMax / 1024) * 1024);
  const parts: Part[] = [];
  for (let offset = 0; offset < bytes; offset += size) {
    parts.push({ number: parts.length + 1, offset, bytes: Math.min(size, bytes - offset) });
  }
  return parts;
}

/** A part counts as sent when the server holds these very bytes: the local ones are read and hashed again. */
async function holds(there: DonePart, part: Part, source: PutSource, key: string): Promise<boolean> {
  if (there.bytes !== part.bytes || there.sha256 === '') return false;
  const body = await readSource(source, part.offset, part.bytes, key);
  return createHash('sha256').update(body).digest('base64') === there.sha256;
}

async function readSource(source: PutSource, offset: number, bytes: number, key: string): Promise<Buffer> {
  const body = Buffer.allocUnsafeSlow(bytes);
  let at = 0;
  for await (const chunk of source.open(offset, bytes) as AsyncIterable<Buffer>) {
    if (at + chunk.length > bytes) throw notAsPromised(key, 'its source');
    chunk.copy(body, at);
    at += chunk.length;
  }
  if (at !== bytes) throw notAsPromised(key, 'its source');
  return body;
}

async function eachOf<T>(items: T[], concurrency: number, body: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  let failed = false;
  const lane = async () => {
    for (let item = queue.shift(); item !== undefined && !failed; item = queue.shift()) {
      try {
        await body(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  // All lanes come to rest before the first failure is told: no part is under way any more when the caller cleans up.
  const ends = await Promise.allSettled(Array.from({ length: Math.min(concurrency, items.length) }, lane));
  const bad = ends.find((e) => e.status === 'rejected');
  if (bad) throw bad.reason;
}

function parseToken(token: string): Token {
  const parsed = JSON.parse(token === '' ? '{"uploadId":""}' : token) as Token;
  return { uploadId: parsed.uploadId };
}

function isNoSuchUpload(error: unknown): boolean {
  return (error as { name?: string }).name === 'NoSuchUpload';
}

function notAsPromised(key: string, where: string): Failure {
  return new Failure('ChecksumMismatch', `${key}: what came from ${where} is not what was promised.`, {
    next: 'Nothing was stored; it is tried again by itself. If it stays, the staged file is damaged: run the backup again.',
  });
}
