import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
} from '@aws-sdk/client-s3';
import { Failure } from '../../../policies/failure.ts';
import type { PendingPut } from '../store.ts';
import type { S3Context } from './context.ts';
import { assertListing, isS3Error } from './errors.ts';
import type { NewObject } from './new-object.ts';
import type { HeldPart } from './parts.ts';

/** What the token of a pending put says. */
export interface UploadToken {
  /** '' when the object was there already: nothing is pending. */
  uploadId: string;
  /** Of the source that the upload was begun for. */
  sha256?: string;
  /** A digest of the parts, once all were sent: completing takes these, and no others that came in between. */
  parts?: string;
}

/** Null for what is no token of ours. */
export function parseToken(token: string | undefined): UploadToken | null {
  try {
    const parsed = JSON.parse(token ?? '') as Partial<UploadToken> | null;
    return typeof parsed?.uploadId === 'string' ? (parsed as UploadToken) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Of the parts' numbers and ETags. */
export function digestOf(parts: Pick<HeldPart, 'number' | 'etag'>[]): string {
  const inOrder = [...parts].sort((a, b) => a.number - b.number);
  return createHash('sha256')
    .update(inOrder.map((p) => `${p.number} ${p.etag}\n`).join(''))
    .digest('base64');
}

export async function createUpload({ client, at }: S3Context, key: string, object: NewObject): Promise<string> {
  const created = await client.send(new CreateMultipartUploadCommand({ ...at(key), ...object }));
  if (created.UploadId) return created.UploadId;
  throw new Failure('StoreUnreachable', `${key}: the server began an upload and gave it no id.`, {
    next: 'See whether the endpoint is an S3 server; it is tried again by itself.',
  });
}

/** What the server holds of an upload, in order; null when it knows none: completed, or aborted. */
export async function listParts({ client, at }: S3Context, key: string, uploadId: string): Promise<HeldPart[] | null> {
  const parts: HeldPart[] = [];
  let marker: string | undefined;
  do {
    try {
      const page = await client.send(
        new ListPartsCommand({ ...at(key), UploadId: uploadId, ...(marker ? { PartNumberMarker: marker } : {}) }),
      );
      for (const p of page.Parts ?? []) {
        parts.push({
          number: p.PartNumber ?? 0,
          bytes: p.Size ?? 0,
          etag: p.ETag ?? '',
          sha256: p.ChecksumSHA256 ?? '',
        });
      }
      marker = page.IsTruncated ? page.NextPartNumberMarker : undefined;
    } catch (error) {
      if (isS3Error(error, 'NoSuchUpload')) return null;
      throw error;
    }
  } while (marker);
  return parts.sort((a, b) => a.number - b.number);
}

/** Uploads that are neither completed nor aborted, whose key starts with the prefix. */
export async function* listUploads(
  { client, call, options, base, keyOf, place }: S3Context,
  prefix: string,
): AsyncGenerator<PendingPut & { uploadId: string; startedAt: string }> {
  let page: { KeyMarker?: string; UploadIdMarker?: string } = {};
  for (;;) {
    const found = await call(prefix, () =>
      client.send(new ListMultipartUploadsCommand({ Bucket: options.bucket, Prefix: base + prefix, ...page })),
    );
    assertListing(place(prefix), found.Bucket);
    const uploads = found.Uploads ?? [];
    const last = found.IsTruncated ? uploads.at(-1) : undefined;
    // The last key of a page may have more uploads, so it waits for the next page: not every server that is told key and
    // upload goes on after the two. Unless the page is all of one key.
    const complete = uploads.filter((u) => u.Key !== last?.Key);
    const before = complete.at(-1)?.Key;
    for (const { Key, UploadId: uploadId, Initiated } of before === undefined ? uploads : complete) {
      const key = keyOf(Key);
      if (key === null || !uploadId) continue;
      const startedAt = (Initiated ?? new Date(0)).toISOString();
      yield { key, bytes: 0, sha256: '', token: JSON.stringify({ uploadId }), uploadId, startedAt };
    }
    if (!last?.Key || !last.UploadId) return;
    page = before === undefined ? { KeyMarker: last.Key, UploadIdMarker: last.UploadId } : { KeyMarker: before };
  }
}

/** Idempotent. */
export async function abortUpload({ client, at }: S3Context, key: string, uploadId: string): Promise<void> {
  try {
    await client.send(new AbortMultipartUploadCommand({ ...at(key), UploadId: uploadId }));
  } catch (error) {
    if (!isS3Error(error, 'NoSuchUpload')) throw error;
  }
}

/** Makes the parts an object, unless there is one under its key. The server's errors come as they are. */
export async function completeUpload(
  { patient, at, place }: S3Context,
  key: string,
  uploadId: string,
  parts: HeldPart[],
): Promise<void> {
  const completed = await patient.send(
    new CompleteMultipartUploadCommand({
      ...at(key),
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
  assertComposite(place(key), parts, completed.ChecksumSHA256);
}

/** The composite checksum that the server answers: SHA-256 over the parts' SHA-256s. */
function assertComposite(place: string, parts: HeldPart[], answered: string | undefined): void {
  if (!answered || parts.some((p) => p.sha256 === '')) return;
  const all = createHash('sha256');
  for (const part of parts) all.update(Buffer.from(part.sha256, 'base64'));
  const expected = `${all.digest('base64')}-${parts.length}`;
  if (answered === expected || answered === expected.replace(/-\d+$/, '')) return;
  throw new Failure('ChecksumMismatch', `${place}: the server's checksum of it is ${answered}, not ${expected}.`, {
    next: 'The copy does not count; it is made again by itself.',
  });
}
