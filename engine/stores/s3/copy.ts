import { UploadPartCopyCommand } from '@aws-sdk/client-s3';
import { bytesSource } from '../put-source.ts';
import { hashOf, headOrNull } from '../read.ts';
import type { Store } from '../store.ts';
import type { Abilities } from './abilities.ts';
import type { S3Context } from './context.ts';
import { newObject } from './new-object.ts';
import { eachOf, type HeldPart, type Part, partsOf } from './parts.ts';
import { abortUpload, createUpload, digestOf, type UploadToken } from './uploads.ts';
import type { Place, Versions } from './versions.ts';

/**
 * Copies within the bucket, server-side, by a multipart upload whatever the length: it knows no limit of 5 GiB, and its
 * completion is conditional on every server that knows conditions, while CopyObject is on some.
 */
export function createCopy(
  context: S3Context,
  abilities: Abilities,
  versions: Versions,
  store: () => Store,
): Store['copy'] {
  const { client, at, call } = context;
  return (from, to) =>
    call(from, async () => {
      at(to);
      const source = await store().head(from);
      const tags = await store().getTags(from);
      const { bytes, metadata } = source;
      if (bytes === 0) return store().put(to, bytesSource(''), { metadata, tags });
      const sha256 = source.sha256 ?? (await hashOf(store(), from));
      const there = await headOrNull(store(), to);
      const pending = { key: to, bytes, sha256, token: JSON.stringify({ uploadId: '' } satisfies UploadToken) };
      if (there) return store().completePut(pending);
      const object = await newObject(context, abilities, sha256, { metadata, tags });
      // The server chooses the checksum: versitygw takes the whole source's for each part's when it is of the same kind.
      const uploadId = await createUpload(context, to, object);
      try {
        const parts = await copyParts(from, to, uploadId, partsOf(bytes, context.options.partBytes));
        const token = JSON.stringify({ uploadId, sha256, parts: digestOf(parts) } satisfies UploadToken);
        return await store().completePut({ ...pending, token });
      } catch (error) {
        await abortUpload(context, to, uploadId);
        throw error;
      }
    });

  async function copyParts(from: string, to: string, uploadId: string, parts: Part[]) {
    const done: Pick<HeldPart, 'number' | 'etag'>[] = [];
    await eachOf(iterate(parts), context.options.concurrency, async ({ number, offset, bytes }) => {
      const { CopyPartResult } = await versions.on(from, (where) =>
        client.send(
          new UploadPartCopyCommand({
            ...at(to),
            UploadId: uploadId,
            PartNumber: number,
            CopySource: sourceOf(where),
            // S3 takes ranges of objects above 5 MiB only.
            ...(parts.length > 1 ? { CopySourceRange: `bytes=${offset}-${offset + bytes - 1}` } : {}),
          }),
        ),
      );
      done.push({ number, etag: CopyPartResult?.ETag ?? '' });
    });
    return done;
  }
}

function sourceOf({ Bucket, Key, VersionId }: Place): string {
  const version = VersionId === undefined ? '' : `?versionId=${encodeURIComponent(VersionId)}`;
  return `${Bucket}/${Key.split('/').map(encodeURIComponent).join('/')}${version}`;
}

async function* iterate<T>(items: T[]): AsyncGenerator<T> {
  yield* items;
}
