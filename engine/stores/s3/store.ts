import type { Readable } from 'node:stream';
import {
  type _Object,
  CopyObjectCommand,
  DeleteObjectCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  GetObjectLockConfigurationCommand,
  GetObjectTaggingCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectLegalHoldCommand,
  PutObjectRetentionCommand,
  PutObjectTaggingCommand,
  S3Client,
  type StorageClass,
} from '@aws-sdk/client-s3';
import { isFailure } from '../../../policies/failure.ts';
import { assertKey } from '../keys.ts';
import type { Store, StoreCapabilities, StoredObject } from '../store.ts';
import type { S3Context, S3StoreOptions } from './context.ts';
import { asFailure } from './errors.ts';
import { createPuts } from './put.ts';

/** A store in an S3 bucket. */
export function createS3Store(given: S3StoreOptions): Store {
  const options = { ...given, partBytes: given.partBytes ?? 16 * 1024 * 1024, concurrency: given.concurrency ?? 4 };
  const { name, bucket } = options;
  const base = options.prefix ? `${options.prefix}/` : '';
  const client = new S3Client({
    region: options.region,
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
    forcePathStyle: options.forcePathStyle ?? false,
    ...(options.credentials ? { credentials: options.credentials } : {}),
    // The workflow tries again for hours; here only a hiccup is bridged.
    maxAttempts: 3,
    requestHandler: {
      connectionTimeout: 5_000,
      requestTimeout: 120_000,
      httpsAgent: { maxSockets: 64 },
      httpAgent: { maxSockets: 64 },
    },
  });
  const context: S3Context = {
    options,
    client,
    at: (key) => {
      assertKey(key);
      return { Bucket: bucket, Key: base + key };
    },
    async call(what, run) {
      try {
        return await run();
      } catch (error) {
        throw asFailure(error, `${name} (bucket ${bucket})${what === '' ? '' : `, ${what}`}`);
      }
    },
  };
  const { at, call } = context;
  let known: Promise<StoreCapabilities> | null = null;

  const store: Store = {
    name,
    kind: 's3',

    capabilities: () => {
      known ??= findCapabilities(context, bucket);
      // A failed look is no answer; the next caller looks again.
      known.catch(() => {
        known = null;
      });
      return known;
    },

    check: () =>
      call('', async () => {
        try {
          await client.send(new HeadBucketCommand({ Bucket: bucket }));
        } catch (error) {
          // HEAD carries no body, so a missing bucket is only a 404 here.
          if ((error as { name?: string }).name !== 'NotFound') throw error;
          throw Object.assign(new Error('no such bucket'), { name: 'NoSuchBucket' });
        }
      }),

    ...createPuts(context, () => store),

    async *listPending(prefix) {
      let page: { KeyMarker?: string; UploadIdMarker?: string } = {};
      for (;;) {
        const found = await call(prefix, () =>
          client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: base + prefix, ...page })),
        );
        for (const upload of found.Uploads ?? []) {
          if (!upload.Key || !upload.UploadId) continue;
          yield {
            key: upload.Key.slice(base.length),
            bytes: 0,
            sha256: '',
            token: JSON.stringify({ uploadId: upload.UploadId }),
            startedAt: (upload.Initiated ?? new Date(0)).toISOString(),
          };
        }
        if (!found.IsTruncated || !found.NextKeyMarker) return;
        page = {
          KeyMarker: found.NextKeyMarker,
          ...(found.NextUploadIdMarker ? { UploadIdMarker: found.NextUploadIdMarker } : {}),
        };
      }
    },

    get: (key, range, signal) =>
      call(key, async () => {
        const Range = range
          ? `bytes=${range.offset}-${range.length === undefined ? '' : range.offset + range.length - 1}`
          : undefined;
        const { Body } = await client.send(
          new GetObjectCommand({ ...at(key), ...(Range ? { Range } : {}) }),
          signal ? { abortSignal: signal } : {},
        );
        const body = Body as Readable;
        signal?.addEventListener('abort', () => body.destroy(new DOMException('aborted', 'AbortError')), {
          once: true,
        });
        return body;
      }),

    head: (key) => call(key, async () => describe(key, await client.send(new HeadObjectCommand(at(key))))),

    async *list(prefix) {
      let token: string | undefined;
      do {
        const page = await call(prefix, () =>
          client.send(
            new ListObjectsV2Command({
              Bucket: bucket,
              Prefix: base + prefix,
              ...(token === undefined ? {} : { ContinuationToken: token }),
            }),
          ),
        );
        for (const object of page.Contents ?? []) yield listed(object, base);
        token = page.IsTruncated ? page.NextContinuationToken : undefined;
      } while (token !== undefined);
    },

    async copy(from, to) {
      const source = await store.head(from);
      await call(to, () =>
        client.send(
          new CopyObjectCommand({
            ...at(to),
            CopySource: `${bucket}/${encodeURI(base + from)}`,
            MetadataDirective: 'COPY',
          }),
        ),
      );
      return { ...source, ...(await store.head(to)) };
    },

    delete: (key) =>
      call(key, async () => {
        try {
          await client.send(new DeleteObjectCommand(at(key)));
        } catch (error) {
          if (!isFailure(asFailure(error, ''), 'ObjectMissing')) throw error;
        }
      }),

    setTags: (key, tags) =>
      call(key, async () => {
        await client.send(new PutObjectTaggingCommand({ ...at(key), Tagging: { TagSet: tagSet(tags) } }));
      }),

    getTags: (key) =>
      call(key, async () => {
        const { TagSet } = await client.send(new GetObjectTaggingCommand(at(key)));
        return Object.fromEntries((TagSet ?? []).map((t) => [t.Key ?? '', t.Value ?? '']));
      }),

    lock: (key, mode, until) =>
      call(key, async () => {
        const Retention = {
          Mode: mode === 'compliance' ? 'COMPLIANCE' : 'GOVERNANCE',
          RetainUntilDate: new Date(until),
        } as const;
        await client.send(new PutObjectRetentionCommand({ ...at(key), Retention }));
      }),

    hold: (key, on) =>
      call(key, async () => {
        await client.send(new PutObjectLegalHoldCommand({ ...at(key), LegalHold: { Status: on ? 'ON' : 'OFF' } }));
      }),

    close: async () => client.destroy(),
  };
  return store;
}

function tagSet(tags: Record<string, string>): { Key: string; Value: string }[] {
  return Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
}

function listed(object: _Object, base: string) {
  return {
    key: (object.Key ?? '').slice(base.length),
    bytes: object.Size ?? 0,
    modifiedAt: (object.LastModified ?? new Date(0)).toISOString(),
  };
}

function describe(key: string, head: HeadObjectCommandOutput): StoredObject {
  const { sha256, ...metadata } = head.Metadata ?? {};
  return {
    key,
    bytes: head.ContentLength ?? 0,
    modifiedAt: (head.LastModified ?? new Date(0)).toISOString(),
    sha256: sha256 ?? null,
    metadata,
    storageClass: (head.StorageClass as StorageClass | undefined) ?? null,
    sse: head.ServerSideEncryption ?? null,
    versionId: head.VersionId ?? null,
    lockedUntil: head.ObjectLockRetainUntilDate?.toISOString() ?? null,
    held: head.ObjectLockLegalHoldStatus === 'ON',
  };
}

/** Asks the bucket. What only a write could show (storage class, SSE) is what S3 itself promises; head() says what became of it. */
async function findCapabilities(context: S3Context, bucket: string): Promise<StoreCapabilities> {
  const has = async (look: () => Promise<boolean>) => {
    try {
      return await context.call('', look);
    } catch (error) {
      if (isFailure(error, 'CapabilityMissing', 'ObjectMissing', 'StoreDenied')) return false;
      throw error;
    }
  };
  const lock = await has(async () => {
    const found = await context.client.send(new GetObjectLockConfigurationCommand({ Bucket: bucket }));
    return found.ObjectLockConfiguration?.ObjectLockEnabled === 'Enabled';
  });
  const versioning = await has(async () => {
    const found = await context.client.send(new GetBucketVersioningCommand({ Bucket: bucket }));
    return found.Status === 'Enabled';
  });
  return {
    conditionalPut: true,
    checksums: true,
    resume: true,
    tags: true,
    metadata: true,
    storageClass: true,
    sse: true,
    lock,
    versioning,
  };
}
