import type { CopyPolicy } from '../../policies/policy.ts';
import { createDirectoryStore } from './directory/store.ts';
import { createS3Store } from './s3/store.ts';
import type { Store } from './store.ts';

/** The store of a copy, as the policy describes it. Credentials are resolved here, in the process that needs them. */
export async function openStore(copy: CopyPolicy, resolveSecret: (ref: string) => Promise<string>): Promise<Store> {
  if (copy.kind === 'directory') return createDirectoryStore({ name: copy.name, path: copy.path });
  const { accessKeyId, secretAccessKey } = copy;
  return createS3Store({
    name: copy.name,
    bucket: copy.bucket,
    prefix: copy.prefix,
    region: copy.region,
    ...(copy.endpoint === undefined ? {} : { endpoint: copy.endpoint }),
    forcePathStyle: copy.forcePathStyle,
    ...(accessKeyId && secretAccessKey
      ? {
          credentials: {
            accessKeyId: await resolveSecret(accessKeyId),
            secretAccessKey: await resolveSecret(secretAccessKey),
          },
        }
      : {}),
    storageClass: copy.storageClass,
    sse: copy.sse,
    tags: copy.tags,
    partBytes: copy.partBytes,
    concurrency: copy.concurrency,
  });
}
