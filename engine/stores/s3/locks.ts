import { GetObjectLegalHoldCommand, GetObjectRetentionCommand, type HeadObjectCommandOutput } from '@aws-sdk/client-s3';
import type { S3Context } from './context.ts';
import { isS3Error } from './errors.ts';
import type { Versions } from './versions.ts';

type Locks = Pick<HeadObjectCommandOutput, 'ObjectLockRetainUntilDate' | 'ObjectLockLegalHoldStatus'>;

/** The locks on an object, asked for by themselves. What these credentials may not read is left out. */
export async function readLocks({ client }: S3Context, versions: Versions, key: string): Promise<Locks> {
  const [retention, hold] = await Promise.all([
    orNothing(versions.on(key, (where) => client.send(new GetObjectRetentionCommand(where)))),
    orNothing(versions.on(key, (where) => client.send(new GetObjectLegalHoldCommand(where)))),
  ]);
  return {
    ObjectLockRetainUntilDate: retention?.Retention?.RetainUntilDate,
    ObjectLockLegalHoldStatus: hold?.LegalHold?.Status,
  };
}

async function orNothing<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (isS3Error(error, 'NoSuchObjectLockConfiguration', 'ObjectLockConfigurationNotFoundError', 'AccessDenied'))
      return null;
    throw error;
  }
}
