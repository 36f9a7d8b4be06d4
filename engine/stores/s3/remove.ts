import { DeleteObjectCommand, ListObjectVersionsCommand } from '@aws-sdk/client-s3';
import { isFailure } from '../../../policies/failure.ts';
import type { Abilities } from './abilities.ts';
import type { S3Context } from './context.ts';
import { isS3Error } from './errors.ts';

/**
 * Removes an object. In a bucket with versions a plain delete would only lay a marker over it, lock or no lock, and free
 * nothing; there every version goes, the newest first, up to one that is locked.
 */
export async function removeObject(context: S3Context, abilities: Abilities, key: string): Promise<void> {
  const { client, at } = context;
  if ((await abilities.versioning()) !== 'no') {
    for (const VersionId of await versionsOf(context, key)) {
      await ignoringMissing(() => client.send(new DeleteObjectCommand({ ...at(key), VersionId })));
    }
  } else {
    await ignoringMissing(() => client.send(new DeleteObjectCommand(at(key))));
  }
}

async function versionsOf({ client, at }: S3Context, key: string): Promise<string[]> {
  const { Bucket, Key } = at(key);
  const found: { id: string; isLatest: boolean; modifiedMs: number }[] = [];
  let page: { KeyMarker?: string; VersionIdMarker?: string } = {};
  for (;;) {
    const answer = await client.send(new ListObjectVersionsCommand({ Bucket, Prefix: Key, ...page }));
    const versions = [...(answer.Versions ?? []), ...(answer.DeleteMarkers ?? [])].filter((v) => v.Key === Key);
    for (const { VersionId, IsLatest, LastModified } of versions) {
      if (VersionId)
        found.push({ id: VersionId, isLatest: IsLatest ?? false, modifiedMs: LastModified?.getTime() ?? 0 });
    }
    // Keys come in order: the exact one comes before all others that begin with it.
    if (!answer.IsTruncated || !answer.NextKeyMarker || answer.NextKeyMarker !== Key) break;
    page = {
      KeyMarker: answer.NextKeyMarker,
      ...(answer.NextVersionIdMarker ? { VersionIdMarker: answer.NextVersionIdMarker } : {}),
    };
  }
  return found
    .sort((a, b) => Number(b.isLatest) - Number(a.isLatest) || b.modifiedMs - a.modifiedMs)
    .map(({ id }) => id);
}

async function ignoringMissing(remove: () => Promise<unknown>): Promise<void> {
  try {
    await remove();
  } catch (error) {
    if (!isFailure(error, 'ObjectMissing') && !isS3Error(error, 'NoSuchKey', 'NoSuchVersion', 'NotFound')) throw error;
  }
}
