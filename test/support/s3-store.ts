import type { Store } from '../../engine/stores/index.ts';
import { createS3Store } from '../../engine/stores/s3/store.ts';
import type { StoreCapabilities } from '../../engine/stores/store.ts';
import type { StoreFixture } from '../engine/stores/fixture.ts';
import type { S3Service } from './shared.ts';

/** The smallest that S3 takes. */
export const partBytes = 5 * 1024 * 1024;

export type S3StoreOverrides = Partial<Parameters<typeof createS3Store>[0]>;

/** A store on a bucket of a test server, as a policy would describe it, with small parts. The caller closes it. */
export function s3Store(service: S3Service, bucket: string, overrides: S3StoreOverrides = {}): Store {
  const { endpoint, region, accessKeyId, secretAccessKey } = service;
  return createS3Store({
    name: 'offsite',
    bucket,
    endpoint,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
    storageClass: 'STANDARD_IA',
    sse: 'AES256',
    partBytes,
    concurrency: 2,
    ...overrides,
  });
}

/** What the S3 server of the embedded stack has in a plain bucket. */
export const versitygwHas: StoreCapabilities = {
  conditionalPut: true,
  checksums: true,
  resume: true,
  tags: true,
  metadata: true,
  storageClass: false,
  sse: false,
  lock: false,
  versioning: false,
};

export interface BucketFixture
  extends Pick<StoreFixture, 'has'>,
    Partial<Pick<StoreFixture, 'nests' | 'dates' | 'untags' | 'falters'>> {
  bucket: string;
  prefix?: string;
}

/** A bucket for the conformance suite. */
export function s3Fixture(
  service: S3Service,
  { bucket, prefix = '', nests = false, ...given }: BucketFixture,
): StoreFixture {
  const opened: Store[] = [];
  return {
    partBytes,
    nests,
    ...given,
    open() {
      const store = s3Store(service, bucket, { prefix });
      opened.push(store);
      return store;
    },
    async remove() {
      for (const store of opened) await store.close();
    },
  };
}
