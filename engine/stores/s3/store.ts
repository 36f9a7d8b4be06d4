import {
  GetObjectTaggingCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListObjectsV2Command,
  PutObjectLegalHoldCommand,
  PutObjectRetentionCommand,
  PutObjectTaggingCommand,
} from '@aws-sdk/client-s3';
import { isFailure } from '../../../policies/failure.ts';
import type { Store, StoredObject } from '../store.ts';
import { createAbilities } from './abilities.ts';
import { createContext } from './client.ts';
import { readClock } from './clock.ts';
import type { S3StoreOptions } from './context.ts';
import { createCopy } from './copy.ts';
import { assertListing } from './errors.ts';
import { createGet } from './get.ts';
import { readLocks } from './locks.ts';
import { decodeMetadata } from './metadata.ts';
import { lockEnd, noLock } from './new-object.ts';
import { createPuts } from './put.ts';
import { removeObject } from './remove.ts';
import { listUploads } from './uploads.ts';
import { createVersions } from './versions.ts';

/** A store in an S3 bucket. */
export function createS3Store(options: S3StoreOptions): Store {
  const context = createContext(options);
  const { client, patient, at, base, call, place } = context;
  const { name, bucket } = options;
  const abilities = createAbilities(context);
  const versions = createVersions(context, abilities);

  const store: Store = {
    name,
    kind: 's3',
    capabilities: () => call('', abilities.all),

    check: () => check(''),

    clock: () => call('', () => readClock(context)),

    ...createPuts(context, abilities, () => store),

    async *listPending(prefix) {
      for await (const { uploadId: _, ...pending } of listUploads(context, prefix)) yield pending;
    },

    get: createGet(context, versions, () => store),

    async head(key) {
      at(key);
      try {
        return await call(key, async () => {
          const isCovered = await versions.lookAgain(key);
          const found = await versions.on(key, (where) => client.send(new HeadObjectCommand(where)));
          return describe(key, isCovered ? { ...found, ...(await readLocks(context, versions, key)) } : found);
        });
      } catch (error) {
        // HEAD tells no reason: it may be the bucket that is not there, or in another region.
        if (isFailure(error, 'ObjectMissing', 'StoreDenied')) await check(key);
        throw error;
      }
    },

    list: versions.list,

    copy: createCopy(context, abilities, versions, () => store),

    delete: (key) => call(key, () => removeObject(context, abilities, key)),

    setTags: (key, tags) =>
      call(key, async () => {
        const TagSet = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
        await versions.on(key, (where) => client.send(new PutObjectTaggingCommand({ ...where, Tagging: { TagSet } })));
      }),

    getTags: (key) =>
      call(key, async () => {
        const { TagSet } = await versions.on(key, (where) => client.send(new GetObjectTaggingCommand(where)));
        return Object.fromEntries((TagSet ?? []).map((t) => [t.Key ?? '', t.Value ?? '']));
      }),

    lock: (key, mode, until) =>
      call(key, async () => {
        at(key);
        if ((await abilities.locking()) === 'no') throw noLock(name);
        const Mode = mode === 'compliance' ? 'COMPLIANCE' : 'GOVERNANCE';
        const Retention = { Mode, RetainUntilDate: lockEnd(until) } as const;
        await versions.on(key, (where) => client.send(new PutObjectRetentionCommand({ ...where, Retention })));
      }),

    hold: (key, on) =>
      call(key, async () => {
        at(key);
        if ((await abilities.locking()) === 'no') throw noLock(name);
        const LegalHold = { Status: on ? 'ON' : 'OFF' } as const;
        await versions.on(key, (where) => client.send(new PutObjectLegalHoldCommand({ ...where, LegalHold })));
      }),

    close: async () => {
      client.destroy();
      patient.destroy();
    },
  };
  return store;

  /** Unlike HEAD, a listing tells why it is refused. */
  function check(key: string): Promise<void> {
    return call(key, async () => {
      const { Name } = await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: base, MaxKeys: 1 }));
      assertListing(place(key), Name);
    });
  }
}

function describe(key: string, head: HeadObjectCommandOutput): StoredObject {
  const { sha256, ...metadata } = head.Metadata ?? {};
  return {
    key,
    bytes: head.ContentLength ?? 0,
    modifiedAt: (head.LastModified ?? new Date(0)).toISOString(),
    sha256: sha256 ?? null,
    metadata: decodeMetadata(metadata),
    storageClass: head.StorageClass ?? null,
    sse: head.ServerSideEncryption ?? null,
    versionId: head.VersionId ?? null,
    lockedUntil: head.ObjectLockRetainUntilDate?.toISOString() ?? null,
    held: head.ObjectLockLegalHoldStatus === 'ON',
  };
}
