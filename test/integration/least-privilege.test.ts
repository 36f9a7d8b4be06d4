import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteBucketPolicyCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectVersionsCommand,
  PutBucketAclCommand,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
  PutObjectAclCommand,
  PutObjectCommand,
  PutObjectLegalHoldCommand,
  PutObjectLockConfigurationCommand,
  PutObjectRetentionCommand,
  PutObjectTaggingCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { type StoreAccess, storeAccesses } from '../../policies/credentials.ts';
import { s3Client } from '../../scripts/stack/s3.ts';
import { type GuardedBucket, makeGuardedBucket } from '../support/guarded-bucket.ts';
import { services, uniqueName } from '../support/services.ts';

/** Attacks on a real S3 server, with the very credentials that the workers of the stack are given. */

type Attempt = (client: S3Client) => Promise<unknown>;

let guarded: GuardedBucket;
let root: S3Client;
const clients = new Map<StoreAccess, S3Client>();
let object: { Bucket: string; Key: string };
let VersionId: string;

const hour = 3600 * 1000;
const inHours = (hours: number) => new Date(Date.now() + hours * hour);
const content = 'what was backed up';

beforeAll(async () => {
  const { s3 } = await services();
  guarded = await makeGuardedBucket(s3.east);
  root = s3Client(s3.east);
  for (const access of storeAccesses) clients.set(access, s3Client(guarded.as(access)));
});
afterAll(() => {
  for (const client of [root, ...clients.values()]) client?.destroy();
});

beforeEach(async () => {
  object = { Bucket: guarded.bucket, Key: `shop/${uniqueName('point-')}/data` };
  VersionId = await put({ ObjectLockMode: 'COMPLIANCE', ObjectLockRetainUntilDate: inHours(24) });
});

/** As a transfer worker puts. */
async function put(lock: object): Promise<string> {
  const stored = await as('write').send(new PutObjectCommand({ ...object, Body: content, IfNoneMatch: '*', ...lock }));
  return stored.VersionId ?? '';
}

function as(access: StoreAccess): S3Client {
  const client = clients.get(access);
  if (!client) throw new Error(`there is no client to ${access}`);
  return client;
}

/** Its HTTP status: 403 is a refusal, 412 an unmet condition. Batches answer 200 and tell of each object. */
async function statusOf(attempt: Promise<unknown>): Promise<number> {
  try {
    const { Errors } = (await attempt) as { Errors?: { Code?: string }[] };
    return Errors?.every((e) => e.Code === 'AccessDenied') ? 403 : 200;
  } catch (error) {
    return (error as { $metadata: { httpStatusCode: number } }).$metadata.httpStatusCode;
  }
}

async function firstVersion(): Promise<string> {
  const { Body } = await root.send(new GetObjectCommand({ ...object, VersionId }));
  return (await buffer(Body as Readable)).toString();
}

const bucket = () => ({ Bucket: guarded.bucket });
const version = () => ({ ...object, VersionId });
const retention = (Mode: 'COMPLIANCE' | 'GOVERNANCE', hours: number) => ({
  Retention: { Mode, RetainUntilDate: inHours(hours) },
});
const allowAll = () =>
  JSON.stringify({
    Version: '2012-10-17',
    Statement: [{ Effect: 'Allow', Principal: '*', Action: 's3:*', Resource: `arn:aws:s3:::${guarded.bucket}/*` }],
  });

const onBuckets: [string, Attempt][] = [
  [
    'suspend versioning',
    (c) => c.send(new PutBucketVersioningCommand({ ...bucket(), VersioningConfiguration: { Status: 'Suspended' } })),
  ],
  ['change the rights on the bucket', (c) => c.send(new PutBucketPolicyCommand({ ...bucket(), Policy: allowAll() }))],
  ['remove the rights on the bucket', (c) => c.send(new DeleteBucketPolicyCommand(bucket()))],
  ['open the bucket to everybody', (c) => c.send(new PutBucketAclCommand({ ...bucket(), ACL: 'public-read-write' }))],
  ['open an object to everybody', (c) => c.send(new PutObjectAclCommand({ ...object, ACL: 'public-read' }))],
  ['remove the bucket', (c) => c.send(new DeleteBucketCommand(bucket()))],
  ['make a bucket', (c) => c.send(new CreateBucketCommand({ Bucket: uniqueName('own-') }))],
  [
    'change the default lock',
    (c) =>
      c.send(
        new PutObjectLockConfigurationCommand({
          ...bucket(),
          ObjectLockConfiguration: {
            ObjectLockEnabled: 'Enabled',
            Rule: { DefaultRetention: { Mode: 'COMPLIANCE', Days: 36_500 } },
          },
        }),
      ),
  ],
];

const onLocks: [string, Attempt][] = [
  [
    'shorten a compliance lock',
    (c) => c.send(new PutObjectRetentionCommand({ ...version(), ...retention('COMPLIANCE', 1) })),
  ],
  [
    'turn a compliance lock into one that can be lifted',
    (c) =>
      c.send(
        new PutObjectRetentionCommand({
          ...version(),
          ...retention('GOVERNANCE', 48),
          BypassGovernanceRetention: true,
        }),
      ),
  ],
];

const onLegalHolds: [string, Attempt][] = [
  ['set a legal hold', (c) => c.send(new PutObjectLegalHoldCommand({ ...version(), LegalHold: { Status: 'ON' } }))],
  ['lift a legal hold', (c) => c.send(new PutObjectLegalHoldCommand({ ...version(), LegalHold: { Status: 'OFF' } }))],
];

const deletes: [string, Attempt][] = [
  ['delete', (c) => c.send(new DeleteObjectCommand(object))],
  ['delete a version', (c) => c.send(new DeleteObjectCommand(version()))],
  [
    'delete a version past its lock',
    (c) => c.send(new DeleteObjectCommand({ ...version(), BypassGovernanceRetention: true })),
  ],
  [
    'delete many',
    (c) => c.send(new DeleteObjectsCommand({ ...bucket(), Delete: { Objects: [{ Key: object.Key }, version()] } })),
  ],
];

const puts: [string, Attempt][] = [
  ['put', (c) => c.send(new PutObjectCommand({ ...object, Key: `${object.Key}-new`, Body: 'x' }))],
  ['put in the place of an object', (c) => c.send(new PutObjectCommand({ ...object, Body: 'x' }))],
  ['begin an upload', (c) => c.send(new CreateMultipartUploadCommand({ ...object, Key: `${object.Key}-new` }))],
  [
    'copy',
    (c) =>
      c.send(
        new CopyObjectCommand({ ...object, Key: `${object.Key}-new`, CopySource: `${object.Bucket}/${object.Key}` }),
      ),
  ],
  [
    'change tags',
    (c) => c.send(new PutObjectTaggingCommand({ ...object, Tagging: { TagSet: [{ Key: 'a', Value: 'b' }] } })),
  ],
];

const forbidden: Record<StoreAccess, [string, Attempt][]> = {
  write: [...onBuckets, ...onLocks, ...onLegalHolds, ...deletes],
  read: [...onBuckets, ...onLocks, ...onLegalHolds, ...deletes, ...puts],
  delete: [...onBuckets, ...onLocks, ...onLegalHolds, ...puts],
  hold: [...onBuckets, ...onLocks, ...deletes, ...puts],
  rekey: [...onBuckets, ...onLocks, ...onLegalHolds, ...deletes, ...puts],
};

describe.each(storeAccesses)('the credentials to %s', (access) => {
  test.each(forbidden[access])('cannot %s', async (_what, attempt) => {
    expect(await statusOf(attempt(as(access)))).toBe(403);
    expect(await firstVersion()).toBe(content);
  });
});

describe('the credentials to write', () => {
  test('cannot put over an object when they go by the rules', async () => {
    expect(await statusOf(as('write').send(new PutObjectCommand({ ...object, Body: 'x', IfNoneMatch: '*' })))).toBe(
      412,
    );
    expect(await firstVersion()).toBe(content);
  });

  test.each([
    ['a put', async () => as('write').send(new PutObjectCommand({ ...object, Body: 'ransom' }))],
    [
      'a copy',
      async () => {
        const other = { ...object, Key: `${object.Key}-ransom` };
        await as('write').send(new PutObjectCommand({ ...other, Body: 'ransom' }));
        await as('write').send(new CopyObjectCommand({ ...object, CopySource: `${other.Bucket}/${other.Key}` }));
      },
    ],
    [
      'an upload in parts',
      async () => {
        const { UploadId } = await as('write').send(new CreateMultipartUploadCommand(object));
        const part = { PartNumber: 1 };
        const { ETag } = await as('write').send(
          new UploadPartCommand({ ...object, UploadId, ...part, Body: 'ransom' }),
        );
        await as('write').send(
          new CompleteMultipartUploadCommand({ ...object, UploadId, MultipartUpload: { Parts: [{ ...part, ETag }] } }),
        );
      },
    ],
  ])('leave the first version as it was under %s that breaks them', async (_what, overwrite) => {
    await overwrite();
    expect(await firstVersion()).toBe(content);
  });

  test('cannot shorten a governance lock, nor turn it into another', async () => {
    object.Key += '-governed';
    VersionId = await put({ ObjectLockMode: 'GOVERNANCE', ObjectLockRetainUntilDate: inHours(24) });
    for (const [mode, hours] of [
      ['GOVERNANCE', 1],
      ['COMPLIANCE', 48],
    ] as const) {
      const change = { ...version(), ...retention(mode, hours), BypassGovernanceRetention: true };
      expect(await statusOf(as('write').send(new PutObjectRetentionCommand(change)))).toBe(403);
    }
  });

  test('can abort what they began', async () => {
    const begun = { ...object, Key: `${object.Key}-begun` };
    const { UploadId } = await as('write').send(new CreateMultipartUploadCommand(begun));
    await as('write').send(new AbortMultipartUploadCommand({ ...begun, UploadId }));
  });

  test('cannot write who lifted a legal hold', async () => {
    const note = { ...object, Key: object.Key.replace(/data$/, 'hold.1.json') };
    expect(await statusOf(as('write').send(new PutObjectCommand({ ...note, Body: 'lifted', IfNoneMatch: '*' })))).toBe(
      403,
    );
    expect(await statusOf(as('hold').send(new PutObjectCommand({ ...note, Body: 'held', IfNoneMatch: '*' })))).toBe(
      200,
    );
  });
});

describe('the credentials to wrap keys anew', () => {
  const beside = (name: string) => ({ ...object, Key: object.Key.replace(/data$/, name) });
  const putAs = (access: StoreAccess, name: string, more: object = {}) =>
    statusOf(as(access).send(new PutObjectCommand({ ...beside(name), Body: name, IfNoneMatch: '*', ...more })));

  test('put wrapped keys beside a point, locked like it, and nothing else', async () => {
    const lock = { ObjectLockMode: 'COMPLIANCE', ObjectLockRetainUntilDate: inHours(24) };
    for (const name of ['key.2.age', 'key.10.age'])
      expect([name, await putAs('rekey', name, lock)]).toEqual([name, 200]);
    for (const name of ['backup.json', 'key.json', 'hold.1.json', 'data.tar.zst.tink', 'key.2.age.txt'])
      expect([name, await putAs('rekey', name)]).toEqual([name, 403]);
  });

  test('alone put such keys: whoever writes backups puts the first one only', async () => {
    expect(await putAs('write', 'key.1.age')).toBe(200);
    for (const name of ['key.2.age', 'key.9.age', 'key.10.age', 'key.19.age', 'key.200.age'])
      expect([name, await putAs('write', name)]).toEqual([name, 403]);
  });

  test('leave the first version of a key as it was, whatever they lay over it', async () => {
    const stored = await as('write').send(new PutObjectCommand({ ...beside('key.1.age'), Body: 'the key' }));
    await putAs('rekey', 'key.1.age', { IfNoneMatch: undefined });
    const first = await root.send(new GetObjectCommand({ ...beside('key.1.age'), VersionId: stored.VersionId }));
    expect((await buffer(first.Body as Readable)).toString()).toBe('the key');
  });
});

describe('the credentials to delete', () => {
  test.each([
    ['locked for compliance', 'COMPLIANCE'],
    ['locked for governance', 'GOVERNANCE'],
  ] as const)('remove no version that is %s, by whatever way', async (_what, ObjectLockMode) => {
    object.Key += `-${ObjectLockMode}`;
    VersionId = await put({ ObjectLockMode, ObjectLockRetainUntilDate: inHours(24) });
    const Objects = [{ Key: object.Key, VersionId }];
    for (const BypassGovernanceRetention of [undefined, true]) {
      const one = new DeleteObjectCommand({ ...version(), BypassGovernanceRetention });
      const many = new DeleteObjectsCommand({ ...bucket(), Delete: { Objects }, BypassGovernanceRetention });
      expect(await statusOf(as('delete').send(one))).toBe(403);
      expect(await statusOf(as('delete').send(many))).toBe(403);
    }
    expect(await firstVersion()).toBe(content);
  });

  test('remove no version that is held', async () => {
    object.Key += '-held';
    VersionId = await put({});
    await as('hold').send(new PutObjectLegalHoldCommand({ ...version(), LegalHold: { Status: 'ON' } }));
    expect(await statusOf(as('delete').send(new DeleteObjectCommand(version())))).toBe(403);
    expect(await firstVersion()).toBe(content);
    await as('hold').send(new PutObjectLegalHoldCommand({ ...version(), LegalHold: { Status: 'OFF' } }));
    expect(await statusOf(as('delete').send(new DeleteObjectCommand(version())))).toBe(200);
  });

  test('hide a locked object at most: its version stays, and can be read', async () => {
    await as('delete').send(new DeleteObjectCommand(object));
    const { Body } = await as('read').send(new GetObjectCommand(version()));
    expect((await buffer(Body as Readable)).toString()).toBe(content);
    const listed = await as('read').send(new ListObjectVersionsCommand({ ...bucket(), Prefix: object.Key }));
    expect(listed.Versions?.map((v) => v.VersionId)).toEqual([VersionId]);
  });
});

test('not even the root user of the server lifts a compliance lock', async () => {
  await expect(
    root.send(new PutObjectRetentionCommand({ ...version(), ...retention('COMPLIANCE', 1) })),
  ).rejects.toThrow();
  await expect(root.send(new DeleteObjectCommand({ ...version(), BypassGovernanceRetention: true }))).rejects.toThrow();
  await expect(
    root.send(new PutBucketVersioningCommand({ ...bucket(), VersioningConfiguration: { Status: 'Suspended' } })),
  ).rejects.toThrow();
  expect(await firstVersion()).toBe(content);
});
