import { credentialsFor, type StoreAccess } from '../../policies/credentials.ts';
import type { CopyPolicy } from '../../policies/policy.ts';
import { createDirectoryStore } from './directory/store.ts';
import { createS3Store } from './s3/store.ts';
import type { Store } from './store.ts';

export interface OpenStoreOptions {
  /** Which of the copy's credentials are used. */
  access: StoreAccess;
  resolveSecret(ref: string): Promise<string>;
}

/** The store of a copy, as the policy describes it. Credentials are resolved here, in the process that needs them. */
export async function openStore(copy: CopyPolicy, { access, resolveSecret }: OpenStoreOptions): Promise<Store> {
  if (copy.kind === 'directory') return createDirectoryStore({ name: copy.name, path: copy.path });
  const keys = credentialsFor(copy, access);
  return createS3Store({
    name: copy.name,
    bucket: copy.bucket,
    prefix: copy.prefix,
    region: copy.region,
    ...(copy.endpoint === undefined ? {} : { endpoint: copy.endpoint }),
    forcePathStyle: copy.forcePathStyle,
    ...(keys === null
      ? {}
      : {
          credentials: {
            accessKeyId: await resolveSecret(keys.accessKeyId),
            secretAccessKey: await resolveSecret(keys.secretAccessKey),
          },
        }),
    storageClass: copy.storageClass,
    sse: copy.sse,
    tags: copy.tags,
    partBytes: copy.partBytes,
    concurrency: copy.concurrency,
  });
}
