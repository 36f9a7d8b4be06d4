import {
  DeleteObjectCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Store } from '../../engine/stores/index.ts';
import { s3Client } from '../../scripts/stack/s3.ts';
import { failureType, keysOf, ownPrefix, put, textOf } from '../engine/stores/fixture.ts';
import { s3Store } from '../support/s3-store.ts';
import { makeBucket, services } from '../support/services.ts';

/** Deleting where a bucket keeps versions: what others laid over and under an object. */

let client: S3Client;
let bucket: string;
let store: Store;
beforeAll(async () => {
  const { east } = (await services()).s3;
  client = s3Client(east);
  bucket = await makeBucket(east, { objectLock: true });
  store = s3Store(east, bucket);
});
afterAll(async () => {
  await store?.close();
  client?.destroy();
});

const overwrite = (Key: string, Body: string) => client.send(new PutObjectCommand({ Bucket: bucket, Key, Body }));
const hide = (Key: string) => client.send(new DeleteObjectCommand({ Bucket: bucket, Key }));

async function versionsOf(prefix: string): Promise<number> {
  const { Versions, DeleteMarkers } = await client.send(
    new ListObjectVersionsCommand({ Bucket: bucket, Prefix: prefix }),
  );
  return (Versions?.length ?? 0) + (DeleteMarkers?.length ?? 0);
}

const tomorrow = () => new Date(Date.now() + 86_400_000).toISOString();

describe('deleting in a bucket with versions', () => {
  test('frees the space: nothing of the object stays, not even a marker', async () => {
    const key = `${ownPrefix()}object`;
    await put(store, key, 'backup');
    await store.delete(key);
    expect(await versionsOf(key)).toBe(0);
    await put(store, key, 'again');
    expect(await textOf(store, key)).toBe('again');
  });

  test('removes what others laid over it, and what was hidden below a marker', async () => {
    const key = `${ownPrefix()}object`;
    await put(store, key, 'backup');
    await overwrite(key, 'forged');
    await hide(key);
    await overwrite(key, 'forged again');
    await store.delete(key);
    expect(await versionsOf(key)).toBe(0);
    await put(store, key, 'backup');
    await hide(key);
    await store.delete(key);
    expect(await versionsOf(key)).toBe(0);
  });

  test('touches no other object whose key begins alike', async () => {
    const prefix = ownPrefix();
    for (const name of ['a', 'a0', 'a.b', 'ab/c']) {
      await put(store, prefix + name, name);
      await overwrite(prefix + name, `${name} again`);
    }
    await store.delete(`${prefix}a`);
    expect(await keysOf(store, prefix)).toEqual(['a.b', 'a0', 'ab/c'].map((name) => prefix + name));
    expect(await versionsOf(prefix)).toBe(6);
  });

  test('is refused for a locked object, which is there as before, also when something was laid over it', async () => {
    const key = `${ownPrefix()}object`;
    await put(store, key, 'backup', { lock: { mode: 'compliance', until: tomorrow() } });
    expect(await failureType(store.delete(key))).toBe('StoreDenied');
    expect(await versionsOf(key)).toBe(1);
    await overwrite(key, 'forged');
    await hide(key);
    expect(await failureType(store.head(key))).toBe('ObjectMissing');
    expect(await failureType(store.delete(key))).toBe('StoreDenied');
    expect(await textOf(store, key)).toBe('backup');
    expect(await versionsOf(key)).toBe(1);
  });

  test('removes old versions also where versioning is suspended since', async () => {
    const { east } = (await services()).s3;
    const suspended = await makeBucket(east);
    const state = (Status: 'Enabled' | 'Suspended') =>
      client.send(new PutBucketVersioningCommand({ Bucket: suspended, VersioningConfiguration: { Status } }));
    await state('Enabled');
    await client.send(new PutObjectCommand({ Bucket: suspended, Key: 'object', Body: 'one' }));
    await client.send(new PutObjectCommand({ Bucket: suspended, Key: 'object', Body: 'two' }));
    await state('Suspended');
    const there = s3Store(east, suspended);
    try {
      expect((await there.capabilities()).versioning).toBe(false);
      await there.delete('object');
      const { Versions } = await client.send(new ListObjectVersionsCommand({ Bucket: suspended, Prefix: 'object' }));
      expect(Versions ?? []).toEqual([]);
    } finally {
      await there.close();
    }
  });
});
