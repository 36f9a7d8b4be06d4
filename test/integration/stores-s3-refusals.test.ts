import { createServer, type Server } from 'node:http';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { bytesSource, type Store } from '../../engine/stores/index.ts';
import { type Failure, isFailure } from '../../policies/failure.ts';
import { freePort } from '../../scripts/stack/process.ts';
import { all, content, failureType, put } from '../engine/stores/fixture.ts';
import { type S3Proxy, startS3Proxy } from '../support/s3-proxy.ts';
import { partBytes, s3Store } from '../support/s3-store.ts';
import { makeBucket, services, uniqueName } from '../support/services.ts';
import type { S3Service } from '../support/shared.ts';

/** Buckets that are not there, or refuse; servers that are none. Each is named, and told with what to do. */

let server: S3Service;
let bucket: string;
let proxy: S3Proxy;
let webServer: Server;
let webPort: number;
const opened: Store[] = [];
beforeAll(async () => {
  server = (await services()).s3.east;
  bucket = await makeBucket(server);
  proxy = await startS3Proxy(server);
  webServer = createServer((_, answer) => answer.end('<html><body>It works!</body></html>'));
  await new Promise<void>((resolve) => webServer.listen(0, '127.0.0.1', resolve));
  webPort = (webServer.address() as { port: number }).port;
});
afterAll(async () => {
  for (const store of opened) await store.close();
  await proxy?.stop();
  await new Promise((resolve) => webServer?.close(resolve));
});

function open(...given: Parameters<typeof s3Store>): Store {
  const store = s3Store(...given);
  opened.push(store);
  return store;
}

const key = 'shop/point/object';

/** Every method that asks the server something. */
function everyMethod(store: Store): Record<string, () => Promise<unknown>> {
  return {
    check: () => store.check(),
    capabilities: () => store.capabilities(),
    put: () => put(store, key, 'x'),
    'large put': () => put(store, key, content(partBytes + 1)),
    beginPut: () => store.beginPut(key, bytesSource('x'), {}),
    completePut: () => store.completePut({ key, bytes: 1, sha256: '', token: '{"uploadId":"none"}' }),
    abortPut: () => store.abortPut({ key, bytes: 1, sha256: '', token: '{"uploadId":"none"}' }),
    listPending: () => all(store.listPending('')),
    get: () => store.get(key),
    head: () => store.head(key),
    list: () => all(store.list('')),
    copy: () => store.copy(key, `${key}2`),
    delete: () => store.delete(key),
    setTags: () => store.setTags(key, { Lifecycle: 'Archive' }),
    getTags: () => store.getTags(key),
    lock: () => store.lock(key, 'compliance', '2100-01-01T00:00:00.000Z'),
    hold: () => store.hold(key, true),
  };
}

async function failuresOf(
  works: Record<string, () => Promise<unknown>>,
): Promise<[method: string, failure: Failure][]> {
  return Promise.all(
    Object.entries(works).map(async ([method, work]): Promise<[string, Failure]> => {
      const outcome = await work().catch((error: unknown) => error);
      if (!isFailure(outcome)) throw new Error(`${method}: ${inspect(outcome)}`);
      return [method, outcome];
    }),
  );
}

/** What goes wrong, and how it must be told by every method. */
const refusals: Record<
  string,
  { store: () => Promise<Store> | Store; type: string; retryable: boolean; says: RegExp; next: RegExp }
> = {
  'a bucket that does not exist': {
    store: () => open(server, uniqueName('nowhere-')),
    type: 'BucketMissing',
    retryable: false,
    says: /the bucket does not exist \(NoSuchBucket, HTTP 404\)/,
    next: /Make it, or correct its name and region/,
  },
  'an access key that the server does not know': {
    store: () => open({ ...server, accessKeyId: 'NOBODY', secretAccessKey: 'secret-of-nobody' }, bucket),
    type: 'StoreDenied',
    retryable: false,
    says: /the server does not know this access key \(InvalidAccessKeyId, HTTP 403\)/,
    next: /Check the access key/,
  },
  'a secret that is wrong': {
    store: () => open({ ...server, secretAccessKey: 'not-the-right-secret' }, bucket),
    type: 'StoreDenied',
    retryable: false,
    says: /the secret does not belong to this access key \(SignatureDoesNotMatch, HTTP 403\)/,
    next: /Check the access key/,
  },
  'a region that is wrong': {
    store: () => open({ ...server, region: 'eu-central-1' }, bucket),
    type: 'StoreDenied',
    retryable: false,
    says: /in another region \(AuthorizationHeaderMalformed, HTTP 400\)/,
    next: /Correct region/,
  },
  'a port that nobody listens on': {
    store: async () => open({ ...server, endpoint: `http://127.0.0.1:${await freePort()}` }, bucket),
    type: 'StoreUnreachable',
    retryable: true,
    says: /the server at 127\.0\.0\.1:\d+ does not answer as it should/,
    next: /Check the endpoint and the network/,
  },
  'a host that has no address': {
    store: () => open({ ...server, endpoint: 'http://store.invalid' }, bucket),
    type: 'StoreUnreachable',
    retryable: true,
    says: /the server at store\.invalid does not answer as it should/,
    next: /Check the endpoint and the network/,
  },
  'TLS to a server that speaks none': {
    store: () => open({ ...server, endpoint: server.endpoint.replace('http:', 'https:') }, bucket),
    type: 'StoreUnreachable',
    retryable: true,
    says: /the server at 127\.0\.0\.1:\d+ does not answer as it should/,
    next: /Check the endpoint and the network/,
  },
  'a disk of the server that is full': {
    store: () => {
      proxy.meddle = () => ({ status: 507, code: 'InsufficientStorage' });
      return open(proxy, bucket);
    },
    type: 'StoreFull',
    retryable: true,
    says: /there is no space left \(.*507\)/,
    next: /Free space there/,
  },
};

describe.each(Object.entries(refusals))('%s', (_, refusal) => {
  let failures: [string, Failure][];
  let name: string;
  beforeAll(async () => {
    const store = await refusal.store();
    ({ name } = store);
    failures = await failuresOf(everyMethod(store));
  });

  test(`is told as ${refusal.type} by every method`, () => {
    const told = failures.map(([method, { type, retryable }]) => [method, type, retryable]);
    expect(told).toEqual(failures.map(([method]) => [method, refusal.type, refusal.retryable]));
  });

  test('is told with store and bucket, the key where it is about one, the reason, and what to do', () => {
    for (const [method, failure] of failures) {
      expect(failure.message).toMatch(/^offsite \(bucket (test-|nowhere-)[0-9a-f]+\)/);
      expect(failure.message).toMatch(refusal.says);
      expect(failure.next).toMatch(refusal.next);
      if (/put|get$|head|delete|Tags|lock|hold/i.test(method) && method !== 'listPending') {
        expect([method, failure.message]).toEqual([method, expect.stringMatching(/shop\/point\/object|\.probe/)]);
      }
    }
    expect(name).toBe('offsite');
  });

  test('is told without a secret, in the failure and in what caused it', () => {
    for (const [, failure] of failures) {
      const text = inspect(failure, { depth: 12, showHidden: true });
      for (const secret of [server.secretAccessKey, 'secret-of-nobody', 'not-the-right-secret']) {
        expect(text).not.toContain(secret);
      }
    }
  });
});

describe('a server that is no S3 server', () => {
  test('is not taken for an empty bucket, nor for one that keeps what is put', async () => {
    const store = open({ ...server, endpoint: `http://127.0.0.1:${webPort}` }, bucket);
    const listings = [store.check(), all(store.list('')), all(store.listPending('')), store.capabilities()];
    expect(await Promise.all(listings.map(failureType))).toEqual(listings.map(() => 'StoreUnreachable'));
    for (const bytes of ['x', content(partBytes + 1)]) {
      expect(await failureType(put(store, key, bytes))).not.toBe('it did not fail');
    }
  });
});
