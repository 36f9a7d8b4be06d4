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

/** Where a bucket keeps versions: what others laid over an object. */

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

describe('reading in a bucket with versions', () => {
  const overlays: [string, (key: string) => Promise<unknown>][] = [
    ['another version', (key) => overwrite(key, 'forged')],
    ['a marker that it is deleted', hide],
    [
      'many versions and a marker',
      async (key) => {
        for (let i = 0; i < 5; i++) await overwrite(key, `forged ${i}`);
        await hide(key);
      },
    ],
  ];

  test.each(overlays)('sees the object as it was put, whatever was laid over it: %s', async (_what, overlay) => {
    const { east } = (await services()).s3;
    const key = `${ownPrefix()}object`;
    const before = await put(store, key, 'backup', { metadata: { 'db-name': 'shop' }, tags: { a: 'b' } });
    await put(store, `${key}-next`, 'next');
    await overlay(key);
    // By one that has read it before, and by one that has not.
    const fresh = s3Store(east, bucket);
    for (const reader of [store, fresh]) {
      expect(await textOf(reader, key)).toBe('backup');
      // This server tells the time at which a version was overwritten for that of the version.
      expect(await reader.head(key)).toEqual({ ...before, modifiedAt: expect.any(String) });
      expect(await reader.getTags(key)).toMatchObject({ a: 'b' });
      expect(await keysOf(reader, key)).toEqual([key, `${key}-next`]);
      await reader.copy(key, `${key}-copy`);
      expect(await textOf(reader, `${key}-copy`)).toBe('backup');
      await reader.delete(`${key}-copy`);
    }
    await fresh.close();
  });

  test('is told that another object is there when something else is to be put, also below a marker', async () => {
    const key = `${ownPrefix()}object`;
    await put(store, key, 'backup');
    await hide(key);
    expect(await failureType(put(store, key, 'something else'))).toBe('ObjectExists');
    expect(await put(store, key, 'backup')).toMatchObject({ key });
    expect(await textOf(store, key)).toBe('backup');
  });

  test('locks and holds the object, not what was laid over it', async () => {
    const key = `${ownPrefix()}object`;
    await put(store, key, 'backup');
    await overwrite(key, 'forged');
    await store.hold(key, true);
    await store.lock(key, 'governance', tomorrow());
    expect(await store.head(key)).toMatchObject({ held: true, lockedUntil: expect.any(String) });
    await store.hold(key, false);
    expect(await failureType(store.delete(key))).toBe('StoreDenied');
    expect(await versionsOf(key)).toBe(1);
  });

  test('sees what is there now when the object was removed and put again', async () => {
    const { east } = (await services()).s3;
    const other = s3Store(east, bucket);
    const key = `${ownPrefix()}object`;
    await put(store, key, 'one');
    expect(await textOf(other, key)).toBe('one');
    await store.delete(key);
    expect(await failureType(other.head(key))).toBe('ObjectMissing');
    await put(store, key, 'two');
    expect(await textOf(other, key)).toBe('two');
    await store.delete(key);
    await put(store, key, 'three');
    expect(await textOf(other, key)).toBe('three');
    await other.close();
  });

  test('lists every object once, also where there are more versions than come in one answer', async () => {
    const prefix = ownPrefix();
    const names = Array.from({ length: 30 }, (_, i) => `${prefix}${String(i).padStart(2, '0')}`);
    for (const key of names) {
      await put(store, key, key);
      await Promise.all(Array.from({ length: 40 }, (_, i) => overwrite(key, `forged ${i}`)));
    }
    expect(await keysOf(store, prefix)).toEqual(names);
    for await (const { key, bytes } of store.list(prefix)) expect([key, bytes]).toEqual([key, key.length]);
  });
});

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
