import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { UploadPartCommand } from '@aws-sdk/client-s3';
import { giveBack } from '../../give-back.ts';
import { isGrowing } from '../put-source.ts';
import type { GrowingSource, PutOptions, PutSource } from '../store.ts';
import type { S3Context } from './context.ts';
import { eachOf, type HeldPart, holds, partsAsTheyCome, type ReadPart, readPart, readParts } from './parts.ts';
import { signedBy } from './signed-by.ts';
import { listParts, listUploads, parseToken, type UploadToken } from './uploads.ts';

export interface Upload {
  uploadId: string;
  /** What the server held of it when it was looked at. */
  held: HeldPart[];
}

/** Uploads that some put of this process is sending to: nobody else here is to take them for left over. */
const underWay = new Set<string>();

/** Sends what the server does not hold of the source, and tells what it holds then. */
export async function sendParts(
  context: S3Context,
  key: string,
  source: PutSource | GrowingSource,
  options: PutOptions,
  { uploadId, held }: Upload,
): Promise<Pick<HeldPart, 'number' | 'etag'>[]> {
  const { partBytes, concurrency } = context.options;
  const token: UploadToken = isGrowing(source) ? { uploadId } : { uploadId, sha256: source.sha256 };
  const resume = JSON.stringify(token);
  const bytesTotal = isGrowing(source) ? 0 : source.bytes;
  let bytesDone = 0;
  const report = () => options.onProgress?.({ bytesDone, bytesTotal, resume });
  const before = new Map(held.map((p) => [p.number, p]));
  const now: Pick<HeldPart, 'number' | 'etag'>[] = [];
  const parts = readParts({
    source,
    wanted: partBytes,
    place: context.place(key),
    needsMd5: ({ number }) => before.get(number)?.sha256 === '',
    signal: options.signal,
  });
  underWay.add(uploadId);
  try {
    // Told at once: an attempt that dies must have told what to go on with.
    report();
    await eachOf(parts, concurrency, async (part) => {
      options.signal?.throwIfAborted();
      const there = before.get(part.number);
      const etag = holds(there, part) ? there.etag : await sendPart(context, key, source, part, { uploadId, options });
      if (part.body) giveBack(part.body.buffer);
      now.push({ number: part.number, etag });
      bytesDone += part.bytes;
      report();
    });
  } finally {
    underWay.delete(uploadId);
  }
  return now;
}

async function sendPart(
  { client, at }: S3Context,
  key: string,
  source: PutSource | GrowingSource,
  { number, offset, bytes, body, sha256 }: ReadPart,
  { uploadId, options }: { uploadId: string; options: PutOptions },
): Promise<string> {
  const stream: Readable | null = body ? null : source.open(offset, bytes);
  try {
    const command = new UploadPartCommand({
      ...at(key),
      UploadId: uploadId,
      PartNumber: number,
      Body: body ?? stream ?? '',
      ContentLength: bytes,
      ChecksumSHA256: sha256.toString('base64'),
    });
    const { ETag } = await client.send(signedBy(command, sha256), abortable(options));
    return ETag ?? '';
  } finally {
    stream?.destroy();
  }
}

export function abortable({ signal }: PutOptions): { abortSignal?: AbortSignal } {
  return signal ? { abortSignal: signal } : {};
}

/**
 * The upload to go on with: the one of the token, or, when an attempt died before it could tell its token, one that
 * lies under this very key and begins as this source does. Sealed objects have no two beginnings alike.
 */
export async function findEarlier(
  context: S3Context,
  key: string,
  source: PutSource | GrowingSource,
  options: PutOptions,
): Promise<Upload | null> {
  const token = parseToken(options.resume);
  if (token?.uploadId && !isGrowing(source) && token.sha256 === source.sha256) {
    const held = await listParts(context, key, token.uploadId);
    if (held) return { uploadId: token.uploadId, held };
  }
  for await (const { key: other, uploadId } of listUploads(context, key)) {
    if (other !== key || underWay.has(uploadId)) continue;
    const held = await listParts(context, key, uploadId);
    if (held && (await isBeginOf(context, key, source, held, options))) return { uploadId, held };
  }
  return null;
}

async function isBeginOf(
  context: S3Context,
  key: string,
  source: PutSource | GrowingSource,
  held: HeldPart[],
  { signal }: PutOptions,
): Promise<boolean> {
  const [first] = held;
  if (!first) return false;
  for await (const { part } of partsAsTheyCome(source, context.options.partBytes, signal)) {
    if (part.number < first.number) continue;
    const md5 = createHash('md5');
    const read = await readPart(source, part, context.place(key), [md5]);
    return holds(first, { ...read, md5: md5.digest('hex') });
  }
  return false;
}
