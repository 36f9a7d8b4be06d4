import { ListObjectsV2Command, ListObjectVersionsCommand, type ObjectVersion } from '@aws-sdk/client-s3';
import { isFailure } from '../../../policies/failure.ts';
import type { ListedObject } from '../store.ts';
import type { Abilities } from './abilities.ts';
import type { S3Context } from './context.ts';
import { assertListing, isS3Error } from './errors.ts';

/** Where an object is read: in a bucket with versions, which of them. */
export interface Place {
  Bucket: string;
  Key: string;
  VersionId?: string;
}

/**
 * Objects are written once, so an object is its first version. Whatever was laid over it later, another version or a
 * marker that it is deleted, was laid by somebody who may put or delete and means no good: it is not seen. Where these
 * credentials may not list versions, or the bucket has none, the newest is all there is to see.
 */
export interface Versions {
  /** Runs a request on the object; throws the server's error when there is none. */
  on<T>(key: string, request: (place: Place) => Promise<T>): Promise<T>;
  /** Looks anew; true when something lies over the object: then some servers' HEAD does not tell its locks. */
  lookAgain(key: string): Promise<boolean>;
  /** Every object under a prefix, in key order. */
  list(prefix: string): AsyncIterable<ListedObject>;
}

/** Keys whose version is remembered; each costs a request otherwise. */
const rememberedMax = 10_000;

export function createVersions(context: S3Context, abilities: Abilities): Versions {
  const { client, at, base, call, keyOf, place } = context;
  const remembered = new Map<string, { id: string; isCovered: boolean }>();
  let known: Promise<boolean> | null = null;

  return {
    async on(key, request) {
      const before = remembered.get(key);
      if (before !== undefined) {
        try {
          return await request({ ...at(key), VersionId: before.id });
        } catch (error) {
          // Removed since, and perhaps put again.
          if (!isMissing(error)) throw error;
          remembered.delete(key);
        }
      }
      const first = (await areSeen()) ? await firstOf(key) : null;
      return request({ ...at(key), ...(first === null ? {} : { VersionId: first }) });
    },

    async lookAgain(key) {
      if (!(await areSeen())) return false;
      await firstOf(key);
      return remembered.get(key)?.isCovered ?? false;
    },

    async *list(prefix) {
      if (!(await call(prefix, areSeen))) {
        yield* listNewest(prefix);
        return;
      }
      let oldest: ObjectVersion | null = null;
      for await (const version of versionsUnder(base + prefix, prefix)) {
        if (oldest && oldest.Key !== version.Key) yield* listed(oldest);
        oldest = version;
      }
      if (oldest) yield* listed(oldest);
    },
  };

  /** Whether there are versions, and these credentials may list them. A failed look is no answer. */
  function areSeen(): Promise<boolean> {
    known ??= lookForVersions().catch((error: unknown) => {
      known = null;
      throw error;
    });
    return known;
  }

  async function lookForVersions(): Promise<boolean> {
    const versioning = await abilities.versioning();
    if (versioning !== 'yes' && versioning !== 'suspended') return false;
    try {
      await client.send(new ListObjectVersionsCommand({ Bucket: context.options.bucket, Prefix: base, MaxKeys: 1 }));
      return true;
    } catch (error) {
      if (isS3Error(error, 'AccessDenied')) return false;
      throw error;
    }
  }

  /** Null when there is no version: then the server says so in its own words. */
  async function firstOf(key: string): Promise<string | null> {
    const { Key } = at(key);
    let first: ObjectVersion | null = null;
    for await (const version of versionsUnder(Key, key)) {
      // Keys come in order: the exact one before all others that begin with it; its versions the newest first.
      if (version.Key !== Key) break;
      first = version;
    }
    if (!first?.VersionId) {
      remembered.delete(key);
      return null;
    }
    if (remembered.size >= rememberedMax) remembered.clear();
    remembered.set(key, { id: first.VersionId, isCovered: first.IsLatest === false });
    return first.VersionId;
  }

  async function* versionsUnder(Prefix: string, what: string): AsyncGenerator<ObjectVersion> {
    let page: { KeyMarker?: string; VersionIdMarker?: string } = {};
    for (;;) {
      const answer = await call(what, () =>
        client.send(new ListObjectVersionsCommand({ Bucket: context.options.bucket, Prefix, ...page })),
      );
      assertListing(place(what), answer.Name);
      yield* answer.Versions ?? [];
      if (!answer.IsTruncated || !answer.NextKeyMarker) return;
      page = {
        KeyMarker: answer.NextKeyMarker,
        ...(answer.NextVersionIdMarker ? { VersionIdMarker: answer.NextVersionIdMarker } : {}),
      };
    }
  }

  async function* listNewest(prefix: string): AsyncGenerator<ListedObject> {
    let token: string | undefined;
    do {
      const page = await call(prefix, () =>
        client.send(
          new ListObjectsV2Command({
            Bucket: context.options.bucket,
            Prefix: base + prefix,
            ...(token === undefined ? {} : { ContinuationToken: token }),
          }),
        ),
      );
      assertListing(place(prefix), page.Name);
      for (const object of page.Contents ?? []) yield* listed(object);
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  function* listed({ Key, Size, LastModified }: Pick<ObjectVersion, 'Key' | 'Size' | 'LastModified'>) {
    const key = keyOf(Key);
    if (key !== null) yield { key, bytes: Size ?? 0, modifiedAt: (LastModified ?? new Date(0)).toISOString() };
  }
}

function isMissing(error: unknown): boolean {
  return isFailure(error, 'ObjectMissing') || isS3Error(error, 'NotFound', 'NoSuchKey', 'NoSuchVersion');
}
