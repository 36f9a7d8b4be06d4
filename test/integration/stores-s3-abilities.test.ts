import {
  DeleteObjectCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  PutObjectLockConfigurationCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { bytesSource, type Store } from '../../engine/stores/index.ts';
import { s3Client } from '../../scripts/stack/s3.ts';
import { content, failureType, keysOf, ownPrefix, pendingOf, put, textOf } from '../engine/stores/fixture.ts';
import { type GuardedBucket, makeGuardedBucket } from '../support/guarded-bucket.ts';
import { type S3Proxy, type SeenRequest, startS3Proxy } from '../support/s3-proxy.ts';
import { partBytes, s3Store, versitygwHas } from '../support/s3-store.ts';
import { makeBucket, services } from '../support/services.ts';
import type { S3Service } from '../support/shared.ts';

/** How a store finds out what its server can do: truthfully, with whatever rights, and leaving next to nothing. */

let server: S3Service;
let client: S3Client;
let proxy: S3Proxy;
const opened: Store[] = [];
beforeAll(async () => {
  server = (await services()).s3.east;
  client = s3Client(server);
  proxy = await startS3Proxy(server);
});
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  proxy.meddle = () => null;
  proxy.seen = [];
});
afterAll(async () => {
  client?.destroy();
  await proxy?.stop();
});

function open(...given: Parameters<typeof s3Store>): Store {
  const store = s3Store(...given);
  opened.push(store);
  return store;
}

async function versionsIn(Bucket: string): Promise<string[]> {
  const { Versions, DeleteMarkers } = await client.send(new ListObjectVersionsCommand({ Bucket }));
  return [...(Versions ?? []), ...(DeleteMarkers ?? [])].map((v) => v.Key ?? '');
}

const none = Object.fromEntries(Object.keys(versitygwHas).map((name) => [name, false]));

describe('a bucket that locks whatever comes in', () => {
  test('keeps one small object of it, once, however many processes ask', async () => {
    const bucket = await makeBucket(server, { objectLock: true });
    const Rule = { DefaultRetention: { Mode: 'COMPLIANCE', Days: 1 } } as const;
    const ObjectLockConfiguration = { ObjectLockEnabled: 'Enabled', Rule } as const;
    await client.send(new PutObjectLockConfigurationCommand({ Bucket: bucket, ObjectLockConfiguration }));
    for (let i = 0; i < 3; i++) {
      expect(await open(server, bucket).capabilities()).toEqual({ ...versitygwHas, lock: true, versioning: true });
    }
    expect(await versionsIn(bucket)).toEqual(['.probe']);
    const store = open(server, bucket);
    expect(await keysOf(store, '')).toEqual([]);
    // The server means what it says of the bucket.
    await put(store, 'shop/a', 'x');
    expect(await failureType(store.delete('shop/a'))).toBe('StoreDenied');
  });
});

describe('credentials with few rights', () => {
  let guarded: GuardedBucket;
  beforeAll(async () => {
    guarded = await makeGuardedBucket(server);
  });

  test('that may put, and neither delete nor overwrite, find out everything', async () => {
    const has = await open(guarded.as('write'), guarded.bucket).capabilities();
    expect(has).toEqual({ ...versitygwHas, lock: true, versioning: true });
    expect(await versionsIn(guarded.bucket)).toEqual(['.probe']);
  });

  test.each(['read', 'delete', 'hold'] as const)(
    'that may only %s claim nothing that they could not try, and store nothing',
    async (access) => {
      const store = open(guarded.as(access), guarded.bucket);
      expect(await store.capabilities()).toMatchObject({
        ...{ conditionalPut: false, checksums: false, storageClass: false, sse: false },
        ...{ tags: true, metadata: true, lock: true, versioning: true },
      });
      expect(await versionsIn(guarded.bucket)).toEqual(['.probe']);
      const key = `${ownPrefix()}object`;
      for (const bytes of ['x', content(partBytes + 1)]) {
        expect(await failureType(put(store, key, bytes))).toBe('StoreDenied');
      }
      expect(await pendingOf(open(server, guarded.bucket), key)).toEqual([]);
    },
  );

  test('that may put keep the contract of puts, in one request and in parts', async () => {
    const store = open(guarded.as('write'), guarded.bucket);
    const prefix = ownPrefix();
    for (const [name, bytes] of [
      ['small', content(100)],
      ['large', content(2 * partBytes)],
    ] as const) {
      const pending = await store.beginPut(prefix + name, bytesSource(bytes), {});
      await put(store, prefix + name, bytes);
      expect(await failureType(put(store, prefix + name, 'other'))).toBe('ObjectExists');
      await store.abortPut(pending);
      expect(await failureType(store.delete(prefix + name))).toBe('StoreDenied');
    }
    expect(await keysOf(store, prefix)).toEqual([`${prefix}large`, `${prefix}small`]);
    expect(await pendingOf(store, prefix)).toEqual([]);
  });

  test('that the server does not know at all are refused, not taken for few', async () => {
    const nobody = open({ ...server, accessKeyId: 'NOBODY' }, guarded.bucket);
    expect(await failureType(nobody.capabilities())).toBe('StoreDenied');
  });
});

describe('a server without', () => {
  test('conditions is known for it, and yet no object is put over another', async () => {
    const bucket = await makeBucket(server);
    const heedless = (Key: string, headers: SeenRequest['headers']) => async (Body: Buffer) => {
      const Metadata = { about: String(headers['x-amz-meta-about']), sha256: String(headers['x-amz-meta-sha256']) };
      await client.send(new PutObjectCommand({ Bucket: bucket, Key, Body, Metadata }));
    };
    proxy.meddle = ({ operation, key, headers }) =>
      operation === 'PutObject' ? { instead: heedless(key, headers) } : null;
    const store = open(proxy, bucket);
    expect(await store.capabilities()).toMatchObject({ conditionalPut: false, checksums: false });
    await put(store, 'shop/a', 'first');
    expect(await failureType(put(store, 'shop/a', 'other'))).toBe('ObjectExists');
    expect(await textOf(store, 'shop/a')).toBe('first');
    expect(await put(store, 'shop/a', 'first')).toMatchObject({ bytes: 5 });
  });

  test.each([
    ['storage classes', 'x-amz-storage-class', 'InvalidStorageClass'],
    ['encryption', 'x-amz-server-side-encryption', 'NotImplemented'],
  ])('%s, that refuses puts which ask for them, is asked for none', async (_, header, code) => {
    const bucket = await makeBucket(server);
    proxy.meddle = ({ headers }) => (headers[header] === undefined ? null : { status: 400, code });
    const store = open(proxy, bucket);
    expect(await store.capabilities()).toEqual(versitygwHas);
    expect(await put(store, 'shop/small', 'x')).toMatchObject({ bytes: 1 });
    expect(await put(store, 'shop/large', content(partBytes + 1))).toMatchObject({ bytes: partBytes + 1 });
  });

  test('anything but objects is not claimed to have more', async () => {
    const bucket = await makeBucket(server, { objectLock: true });
    const notThere = ['Get tagging', 'Get object-lock', 'Get versioning', 'ListMultipartUploads'];
    proxy.meddle = ({ operation }) => (notThere.includes(operation) ? { status: 501, code: 'NotImplemented' } : null);
    expect(await open(proxy, bucket).capabilities()).toEqual({
      ...none,
      ...{ conditionalPut: true, checksums: true, metadata: true },
    });
  });
});

describe('a look that failed', () => {
  test('is no answer: the next one looks again', async () => {
    const store = open(proxy, await makeBucket(server));
    proxy.meddle = () => ({ status: 503, code: 'SlowDown' });
    expect(await failureType(store.capabilities())).toBe('StoreUnreachable');
    proxy.meddle = () => null;
    expect(await store.capabilities()).toEqual(versitygwHas);
  });

  test('makes the probe again when somebody removed it', async () => {
    const bucket = await makeBucket(server);
    await open(server, bucket).capabilities();
    await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: '.probe' }));
    expect(await open(server, bucket).capabilities()).toEqual(versitygwHas);
    expect(await versionsIn(bucket)).toEqual(['.probe']);
  });

  test('is not repeated once it has answered', async () => {
    const store = open(proxy, await makeBucket(server));
    await store.capabilities();
    proxy.seen = [];
    await store.capabilities();
    expect(proxy.seen).toEqual([]);
    await put(store, 'shop/a', 'x');
    expect(proxy.seen.map((s) => s.operation)).toEqual(['PutObject', 'HeadObject']);
  });
});
