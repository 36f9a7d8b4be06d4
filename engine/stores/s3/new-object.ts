import type { CreateMultipartUploadCommandInput, ServerSideEncryption, StorageClass } from '@aws-sdk/client-s3';
import { Failure } from '../../../policies/failure.ts';
import type { PutOptions } from '../store.ts';
import type { Abilities } from './abilities.ts';
import type { S3Context } from './context.ts';
import { encodeMetadata } from './metadata.ts';

/** What an object is given when it is made, whether by one request or many. */
export type NewObject = Omit<CreateMultipartUploadCommandInput, 'Bucket' | 'Key'>;

/**
 * Throws CapabilityMissing when a lock is asked for where there is none.
 *
 * @param sha256 of all the bytes; null when nobody knows it yet
 */
export async function newObject(
  { options }: S3Context,
  abilities: Abilities,
  sha256: string | null,
  { metadata, tags, lock }: PutOptions,
): Promise<NewObject> {
  if (lock && (await abilities.locking()) === 'no') throw noLock(options.name);
  const { refuses } = await abilities.puts();
  const allTags = { ...options.tags, ...tags };
  return {
    // S3 keeps a checksum of checksums for multipart uploads; the whole one travels beside it.
    Metadata: encodeMetadata({ ...metadata, ...(sha256 === null ? {} : { sha256 }) }),
    ...(options.storageClass && !refuses.storageClass ? { StorageClass: options.storageClass as StorageClass } : {}),
    ...(options.sse && !refuses.sse ? { ServerSideEncryption: options.sse as ServerSideEncryption } : {}),
    ...(Object.keys(allTags).length > 0 ? { Tagging: new URLSearchParams(allTags).toString() } : {}),
    ...(lock
      ? {
          ObjectLockMode: lock.mode === 'compliance' ? ('COMPLIANCE' as const) : ('GOVERNANCE' as const),
          ObjectLockRetainUntilDate: lockEnd(lock.until),
        }
      : {}),
  };
}

/** Servers keep whole seconds: the next one, so that nothing is locked for less than was asked. */
export function lockEnd(until: string): Date {
  return new Date(Math.ceil(Date.parse(until) / 1000) * 1000);
}

export function noLock(store: string): Failure {
  return new Failure('CapabilityMissing', `${store}: the bucket has no Object Lock, so nothing in it can be locked.`, {
    next: 'Make a bucket with Object Lock for this copy; S3 allows it when the bucket is made.',
  });
}
