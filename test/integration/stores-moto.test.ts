import { HeadObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Store } from '../../engine/stores/index.ts';
import { s3Client } from '../../scripts/stack/s3.ts';
import { describeStore } from '../engine/stores/conformance.ts';
import { content, put } from '../engine/stores/fixture.ts';
import { type RunningMoto, startMoto } from '../support/moto.ts';
import { partBytes, s3Fixture, s3Store, versitygwHas } from '../support/s3-store.ts';
import { makeBucket } from '../support/services.ts';

/** What only AWS has, storage classes and encryption by the server, on moto, which answers as AWS does. */

let moto: RunningMoto;
beforeAll(async () => {
  moto = await startMoto();
}, 600_000);
afterAll(async () => moto?.stop());

describeStore('s3 on moto', async () =>
  s3Fixture(moto, {
    bucket: await makeBucket(moto),
    has: { ...versitygwHas, storageClass: true, sse: true, checksums: false },
    nests: true,
    dates: false,
    untags: false,
    falters: true,
  }),
);

describe('an object on a server that has all of it', () => {
  let bucket: string;
  let store: Store;
  beforeAll(async () => {
    bucket = await makeBucket(moto);
    store = s3Store(moto, bucket, { tags: { Lifecycle: 'Archive' } });
  });
  afterAll(async () => store?.close());

  test('carries storage class, encryption, metadata and tag, whether sent at once, in parts, or copied', async () => {
    const metadata = { 'backup-date': '2026-01-31T02:00:00.000Z', 'db-name': 'shop' };
    await put(store, 'small', 'x', { metadata });
    await put(store, 'large', content(partBytes + 1), { metadata });
    await store.copy('large', 'copied');
    const client = s3Client(moto);
    for (const key of ['small', 'large', 'copied']) {
      expect(await store.head(key)).toMatchObject({ storageClass: 'STANDARD_IA', sse: 'AES256', metadata });
      expect(await store.getTags(key)).toEqual({ Lifecycle: 'Archive' });
      // As others see it.
      const seen = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }));
      expect(seen).toMatchObject({ StorageClass: 'STANDARD_IA', ServerSideEncryption: 'AES256' });
      expect(seen.Metadata).toMatchObject(metadata);
    }
    client.destroy();
  });

  test('is encrypted by the key service when that is asked for', async () => {
    const kms = s3Store(moto, bucket, { sse: 'aws:kms' });
    try {
      expect((await put(kms, 'by kms', 'x')).sse).toBe('aws:kms');
    } finally {
      await kms.close();
    }
  });
});
