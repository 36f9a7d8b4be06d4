import { PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { bytesSource, type Store } from '../../engine/stores/index.ts';
import { isFailure } from '../../policies/failure.ts';
import { s3Client } from '../../scripts/stack/s3.ts';
import {
  bytesOf,
  content,
  failureType,
  keysOf,
  ownPrefix,
  pendingOf,
  put,
  sha256Of,
} from '../engine/stores/fixture.ts';
import { eventually } from '../support/eventually.ts';
import { type Fault, type S3Proxy, type SeenRequest, startS3Proxy } from '../support/s3-proxy.ts';
import { partBytes, s3Store } from '../support/s3-store.ts';
import { makeBucket, services } from '../support/services.ts';

/** The S3 store on networks and servers that fail in the ways these do: a proxy before a real server makes them. */

let proxy: S3Proxy;
let bucket: string;
let store: Store;
/** Past the proxy. */
let direct: Store;
beforeAll(async () => {
  const { east } = (await services()).s3;
  bucket = await makeBucket(east);
  proxy = await startS3Proxy(east);
  direct = s3Store(east, bucket);
  await direct.capabilities();
});
beforeEach(() => {
  store = s3Store(proxy, bucket);
  proxy.meddle = () => null;
  proxy.seen = [];
});
afterEach(() => store.close());
afterAll(async () => {
  await direct?.close();
  await proxy?.stop();
});

/** The fault befalls the first requests of a kind. */
function first(times: number, operation: string, fault: Fault): (seen: SeenRequest) => Fault | null {
  let left = times;
  return (seen) => (seen.operation === operation && left-- > 0 ? fault : null);
}
const count = (operation: string) => proxy.seen.filter((s) => s.operation === operation).length;

const large = 2 * partBytes + 1000;

describe('an answer that is lost', () => {
  test.each<[string, number]>([
    ['PutObject', 1000],
    ['CreateMultipartUpload', large],
    ['UploadPart', large],
    ['ListParts', large],
    ['CompleteMultipartUpload', large],
    ['HeadObject', large],
  ])('of %s does not keep a put from ending well, with one object and nothing left over', async (operation, length) => {
    const key = `${ownPrefix()}object`;
    await store.capabilities();
    proxy.meddle = first(1, operation, 'lose the answer');
    expect(await put(store, key, content(length))).toMatchObject({ bytes: length, sha256: sha256Of(content(length)) });
    expect((await bytesOf(direct, key)).equals(content(length))).toBe(true);
    expect(await pendingOf(direct, key)).toEqual([]);
  });

  test('of a completion does no harm where the server then knows the upload no more', async () => {
    const key = `${ownPrefix()}object`;
    let completions = 0;
    // As AWS answers when it is asked a second time.
    proxy.meddle = ({ operation }) => {
      if (operation !== 'CompleteMultipartUpload') return null;
      return ++completions === 1 ? 'lose the answer' : { status: 404, code: 'NoSuchUpload' };
    };
    expect(await put(store, key, content(large))).toMatchObject({ sha256: sha256Of(content(large)) });
    expect(completions).toBe(2);
  });

  test.each(['AbortMultipartUpload', 'DeleteObject', 'Put tagging', 'UploadPartCopy'])(
    'of %s changes nothing of the outcome',
    async (operation) => {
      const prefix = ownPrefix();
      const pending = await store.beginPut(`${prefix}pending`, bytesSource(content(10)), {});
      await put(store, `${prefix}object`, 'x');
      proxy.meddle = first(1, operation, 'lose the answer');
      await store.setTags(`${prefix}object`, { Lifecycle: 'Archive' });
      await store.copy(`${prefix}object`, `${prefix}copy`);
      await store.delete(`${prefix}object`);
      await store.abortPut(pending);
      expect(await keysOf(direct, prefix)).toEqual([`${prefix}copy`]);
      expect(await direct.getTags(`${prefix}copy`)).toEqual({ Lifecycle: 'Archive' });
      expect(await pendingOf(direct, prefix)).toEqual([]);
    },
  );
});

describe('a server that is busy', () => {
  test.each<[string, Fault]>([
    ['says SlowDown', { status: 503, code: 'SlowDown' }],
    ['fails', { status: 500, code: 'InternalError' }],
    ['cuts connections', 'cut'],
  ])('and %s is asked again, by and by', async (_, fault) => {
    const key = `${ownPrefix()}object`;
    let requests = 0;
    // Every second request, over all.
    proxy.meddle = () => (requests++ % 2 === 0 ? fault : null);
    expect(await put(store, key, content(large))).toMatchObject({ sha256: sha256Of(content(large)) });
    expect((await bytesOf(store, key)).equals(content(large))).toBe(true);
    expect(await pendingOf(direct, key)).toEqual([]);
  });

  test('for good is unreachable, which may be tried again, and what was sent is gone on with', async () => {
    const key = `${ownPrefix()}object`;
    const length = 4 * partBytes;
    let resume = '';
    // One part gets through.
    let parts = 0;
    proxy.meddle = ({ operation }) =>
      operation === 'UploadPart' && ++parts > 1 ? { status: 503, code: 'SlowDown' } : null;
    const failing = await put(store, key, content(length), {
      onProgress: (p: { resume: string }) => {
        resume = p.resume;
      },
    }).catch((error: unknown) => error);
    if (!isFailure(failing)) throw failing;
    expect([failing.type, failing.retryable]).toEqual(['StoreUnreachable', true]);
    expect(failing.message).toContain(`offsite (bucket ${bucket}), ${key}: `);
    expect(failing.message).toContain('(SlowDown, HTTP 503)');
    const held = 1;
    proxy.meddle = () => null;
    proxy.seen = [];
    await put(store, key, content(length), { resume });
    expect(count('UploadPart')).toBe(4 - held);
    expect(count('CreateMultipartUpload')).toBe(0);
    expect((await bytesOf(direct, key)).equals(content(length))).toBe(true);
  });
});

describe('a server on which somebody else writes the same key', () => {
  test.each<[string, string, number]>([
    ['one request', 'PutObject', 1000],
    ['parts', 'CompleteMultipartUpload', large],
  ])(
    'may refuse a put in %s, which can be tried again when no object came of the other',
    async (_, operation, length) => {
      const key = `${ownPrefix()}object`;
      await store.capabilities();
      proxy.meddle = first(1, operation, { status: 409, code: 'ConditionalRequestConflict' });
      const failing = await put(store, key, content(length)).catch((error: unknown) => error);
      if (!isFailure(failing)) throw failing;
      expect([failing.type, failing.retryable]).toEqual(['StoreUnreachable', true]);
      expect(await pendingOf(direct, key)).toEqual([]);
      expect(await put(store, key, content(length))).toMatchObject({ sha256: sha256Of(content(length)) });
      proxy.meddle = first(1, operation, { status: 409, code: 'ConditionalRequestConflict' });
      expect(await put(store, key, content(length))).toMatchObject({ sha256: sha256Of(content(length)) });
    },
  );
});

describe('a connection that breaks while an object is read', () => {
  test('is followed by another one from where it broke, so that no byte comes twice', async () => {
    const key = `${ownPrefix()}object`;
    const bytes = content(large);
    await put(direct, key, bytes);
    proxy.meddle = first(4, 'GetObject', { cutAfter: 3_000_000 });
    expect((await bytesOf(store, key)).equals(bytes)).toBe(true);
    const ranges = proxy.seen.filter((s) => s.operation === 'GetObject').map((s) => s.headers.range);
    expect(ranges[0]).toBeUndefined();
    expect(ranges.slice(1).map((r) => Number(r?.match(/^bytes=(\d+)-/)?.[1]))).toEqual([
      3_000_000, 6_000_000, 9_000_000,
    ]);
    proxy.seen = [];
    proxy.meddle = first(1, 'GetObject', { cutAfter: 10 });
    expect((await bytesOf(store, key, { offset: 100, length: 50 })).equals(bytes.subarray(100, 150))).toBe(true);
    expect(proxy.seen.map((s) => s.headers.range)).toEqual(['bytes=100-149', 'bytes=110-149']);
  });

  test('is given up when nothing comes any more, with a failure that names the object', async () => {
    const key = `${ownPrefix()}object`;
    await put(direct, key, content(large));
    let gets = 0;
    proxy.meddle = ({ operation }) => (operation !== 'GetObject' ? null : ++gets === 1 ? { cutAfter: 100_000 } : 'cut');
    const failing = await bytesOf(store, key).catch((error: unknown) => error);
    if (!isFailure(failing)) throw failing;
    expect([failing.type, failing.retryable]).toEqual(['StoreUnreachable', true]);
    expect(failing.message).toContain(`offsite (bucket ${bucket}), ${key}: `);
  });

  test('is never gone on with in another object', async () => {
    const key = `${ownPrefix()}object`;
    await put(direct, key, content(large));
    const { east } = (await services()).s3;
    const attacker = s3Client(east);
    proxy.meddle = first(1, 'GetObject', { cutAfter: 100_000 });
    const stream = await store.get(key);
    await attacker.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: content(large, 1) }));
    attacker.destroy();
    const reading = async () => {
      for await (const _ of stream);
    };
    expect(await failureType(reading())).toBe('ChecksumMismatch');
  });
});

describe('a connection on which nothing moves', () => {
  test('is given up while an answer is awaited, and while an object is read', async () => {
    const key = `${ownPrefix()}object`;
    await put(direct, key, content(large));
    // So long that a server which only takes its time is not asked once more.
    const impatient = s3Store(proxy, bucket, { idleMaxMs: 2000 });
    try {
      proxy.meddle = first(1, 'HeadObject', 'hang');
      expect((await impatient.head(key)).bytes).toBe(large);
      expect(count('HeadObject')).toBe(2);
      proxy.meddle = first(2, 'GetObject', { stallAfter: 1_000_000 });
      expect((await bytesOf(impatient, key)).equals(content(large))).toBe(true);
      proxy.meddle = () => 'hang';
      expect(await failureType(impatient.head(key))).toBe('StoreUnreachable');
    } finally {
      await impatient.close();
    }
  });

  test('is waited for while the server puts a large object together', async () => {
    const key = `${ownPrefix()}object`;
    const impatient = s3Store(proxy, bucket, { idleMaxMs: 500 });
    try {
      proxy.meddle = first(1, 'CompleteMultipartUpload', { delayMs: 3000 });
      expect((await put(impatient, key, content(large))).bytes).toBe(large);
      expect(count('CompleteMultipartUpload')).toBe(1);
    } finally {
      await impatient.close();
    }
  });
});

describe('a network that is slow', () => {
  test('is not taken for one on which nothing moves, however long an upload takes', async () => {
    const key = `${ownPrefix()}object`;
    // More than the sockets between take in at once.
    const bytes = content(32 * 1024 * 1024);
    const slow = s3Store(proxy, bucket, { idleMaxMs: 2000, partBytes: bytes.length });
    try {
      await slow.capabilities();
      proxy.meddle = first(1, 'PutObject', { bytesPerSecond: 8 * 1024 * 1024 });
      expect(await put(slow, key, bytes)).toMatchObject({ sha256: sha256Of(bytes) });
      expect(proxy.seen.filter((s) => s.operation === 'PutObject' && s.key === key)).toHaveLength(1);
    } finally {
      await slow.close();
    }
  });
});

describe('connections', () => {
  test('are free again when readers stop early, and gone when the store is closed', async () => {
    const key = `${ownPrefix()}object`;
    await put(direct, key, content(large));
    for (let i = 0; i < 20; i++) {
      const stream = await store.get(key);
      await new Promise((resolve) => stream.once('data', resolve));
      stream.destroy();
    }
    (await store.get(key)).destroy();
    await eventually(() => expect(proxy.connections()).toBeLessThanOrEqual(1));
    await store.head(key);
    await store.close();
    await eventually(() => expect(proxy.connections()).toBe(0));
  });

  test('of a reader that is stuck are cut at once when it is destroyed or aborted', async () => {
    const key = `${ownPrefix()}object`;
    await put(direct, key, content(large));
    proxy.meddle = ({ operation }) => (operation === 'GetObject' ? { stallAfter: 1000 } : null);
    const controller = new AbortController();
    const streams = [await store.get(key), await store.get(key, undefined, controller.signal)];
    for (const stream of streams) await new Promise((resolve) => stream.once('data', resolve));
    expect(proxy.connections()).toBeGreaterThanOrEqual(2);
    streams[1]?.once('error', () => {});
    streams[0]?.destroy();
    controller.abort();
    await eventually(() => expect(proxy.connections()).toBeLessThanOrEqual(1));
  });
});
