import type { StoreAccess } from '../../policies/credentials.ts';
import { ensureBucket, newAccessKey, newSecretKey, type S3Access } from '../../scripts/stack/s3.ts';
import { ensureUsers, type S3Users } from '../../scripts/stack/s3-users.ts';
import { uniqueName } from './services.ts';
import type { S3Service } from './shared.ts';

export interface GuardedBucket {
  bucket: string;
  users: S3Users;
  /** What is needed to talk to the server with one kind of access. */
  as(access: StoreAccess): S3Access;
}

/** A bucket as the stack makes them: versioning, Object Lock, and a user for each kind of access. */
export async function makeGuardedBucket(service: S3Service): Promise<GuardedBucket> {
  const bucket = uniqueName('guarded-');
  const keys = () => ({ accessKeyId: newAccessKey(), secretAccessKey: newSecretKey() });
  const users = { write: keys(), read: keys(), delete: keys(), hold: keys(), rekey: keys() };
  await ensureBucket(service, bucket, { objectLock: true });
  await ensureUsers(service, bucket, users);
  return { bucket, users, as: (access) => ({ ...service, ...users[access] }) };
}
