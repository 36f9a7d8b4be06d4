import { PutObjectCommand } from '@aws-sdk/client-s3';
import { Failure, isFailure } from '../../../policies/failure.ts';
import { factsOf, isGrowing } from '../put-source.ts';
import { hashOf, headOrNull } from '../read.ts';
import type { ObjectFacts, PendingPut, PutOptions, PutSource, Store, StoredObject } from '../store.ts';
import type { Abilities } from './abilities.ts';
import type { S3Context } from './context.ts';
import { isS3Error, notWhole, otherContent } from './errors.ts';
import { newObject } from './new-object.ts';
import { bufferedBytesMax, readParts } from './parts.ts';
import { abortable, findEarlier, sendParts } from './send.ts';
import { signedBy } from './signed-by.ts';
import {
  abortUpload,
  completeUpload,
  createUpload,
  digestOf,
  listParts,
  listUploads,
  parseToken,
  type UploadToken,
} from './uploads.ts';

type Puts = Pick<Store, 'put' | 'beginPut' | 'completePut' | 'abortPut'>;

/** Puts: one request for what fits into a part, multipart with resume for what does not; never over another object. */
export function createPuts(context: S3Context, abilities: Abilities, store: () => Store): Puts {
  const { client, at, call, place } = context;

  const puts: Puts = {
    async put(key, source, options) {
      const isSmall = source.bytes <= Math.min(context.options.partBytes, bufferedBytesMax);
      const stored = isSmall ? await putSmall(key, source, options) : await putLarge(key, source, options);
      const { lock } = options;
      if (!lock || Date.parse(stored.lockedUntil ?? '') >= Date.parse(lock.until)) return stored;
      // It was there before, without a lock or with a shorter one.
      await store().lock(key, lock.mode, lock.until);
      return store().head(key);
    },

    beginPut: (key, source, options) =>
      call(key, async () => {
        at(key);
        const { signal } = options;
        signal?.throwIfAborted();
        const pending = async (token: UploadToken): Promise<PendingPut> => {
          const { bytes, sha256 } = await factsOf(source, signal);
          return { key, bytes, sha256, token: JSON.stringify(token) };
        };
        const object = await newObject(context, abilities, isGrowing(source) ? null : source.sha256, options);
        if (await isThere(key, () => factsOf(source, signal))) return pending({ uploadId: '' });
        const earlier = await findEarlier(context, key, source, options);
        const upload = earlier ?? {
          uploadId: await createUpload(context, key, { ...object, ChecksumAlgorithm: 'SHA256' }),
          held: [],
        };
        const { uploadId } = upload;
        try {
          const sent = await sendParts(context, key, source, options, upload);
          const { sha256 } = await factsOf(source, signal);
          return await pending({ uploadId, sha256, parts: digestOf(sent) });
        } catch (error) {
          // What its source gave is of no use.
          if (isFailure(error, 'ChecksumMismatch')) await abortUpload(context, key, uploadId);
          if (!isS3Error(error, 'NoSuchUpload')) throw error;
          // Aborted by whoever made the object meanwhile: then there is nothing left to send, but maybe a part that came later.
          await abortUpload(context, key, uploadId);
          if (await isThere(key, () => factsOf(source, signal))) return pending({ uploadId: '' });
          throw abortedElsewhere(place(key), error);
        }
      }),

    completePut: (pending) =>
      call(pending.key, async () => {
        const { key } = pending;
        at(key);
        const { uploadId = '', parts: digest } = parseToken(pending.token) ?? {};
        const parts = uploadId === '' ? null : await listParts(context, key, uploadId);
        if (parts === null) return mustBeSame(key, pending);
        if (digest !== digestOf(parts)) {
          if (!(await headOrNull(store(), key))) throw notWhole(place(key));
          // Whoever made the object aborts what else is pending for it; a part that was on its way then stays behind.
          await abortUpload(context, key, uploadId);
          return mustBeSame(key, pending);
        }
        try {
          await completeUpload(context, key, uploadId, parts);
        } catch (error) {
          if (!isS3Error(error, ...anotherIsThere, 'NoSuchUpload')) throw error;
          // Another object got there first; or this one did, and the answer was lost.
          await abortUpload(context, key, uploadId);
          if (await isThere(key, async () => pending)) return store().head(key);
          throw error;
        }
        await abortOthers(key);
        const stored = await store().head(key);
        // Where the server does not tell, it was the parts that were compared.
        if (!(await isSame({ ...stored, sha256: stored.sha256 ?? pending.sha256 }, pending)))
          throw otherContent(place(key));
        return stored;
      }),

    abortPut: (pending) =>
      call(pending.key, async () => {
        const { uploadId = '' } = parseToken(pending.token) ?? {};
        if (uploadId !== '') await abortUpload(context, pending.key, uploadId);
      }),
  };
  return puts;

  function putSmall(key: string, source: PutSource, options: PutOptions): Promise<StoredObject> {
    return call(key, async () => {
      at(key);
      options.signal?.throwIfAborted();
      const object = await newObject(context, abilities, source.sha256, options);
      const stored = await madeOrThere(key, async () => {
        for await (const { body, sha256, bytes } of readParts({ source, wanted: source.bytes, place: place(key) })) {
          const command = new PutObjectCommand({
            ...at(key),
            ...object,
            Body: body ?? '',
            ContentLength: bytes,
            ChecksumSHA256: sha256.toString('base64'),
            IfNoneMatch: '*',
          });
          await client.send(signedBy(command, sha256), abortable(options));
        }
      });
      if (!(await isSame(stored, source))) throw otherContent(place(key));
      options.onProgress?.({ bytesDone: source.bytes, bytesTotal: source.bytes, resume: '' });
      return stored;
    });
  }

  /** Makes the object unless one is there, and tells what is there then. */
  async function madeOrThere(key: string, make: () => Promise<void>): Promise<StoredObject> {
    // A server that does not know conditions would write over it; that leaves the moment between looking and putting.
    const knowsConditions = (await abilities.puts()).conditional === 'yes';
    const there = knowsConditions ? null : await headOrNull(store(), key);
    if (there) return there;
    try {
      await make();
    } catch (error) {
      const found = isS3Error(error, ...anotherIsThere) ? await headOrNull(store(), key) : null;
      if (found) return found;
      throw error;
    }
    return store().head(key);
  }

  async function putLarge(key: string, source: PutSource, options: PutOptions): Promise<StoredObject> {
    const pending = await puts.beginPut(key, source, options);
    try {
      return await puts.completePut(pending);
    } catch (error) {
      throw isFailure(error, 'ObjectMissing') ? abortedElsewhere(place(key), error) : error;
    }
  }

  /** Others that wait for this key can never come true: it is written once. */
  async function abortOthers(key: string): Promise<void> {
    try {
      for await (const other of listUploads(context, key)) {
        if (other.key === key) await abortUpload(context, key, other.uploadId);
      }
    } catch (error) {
      // With credentials that may not, they wait for a sweep.
      if (!isFailure(error, 'StoreDenied') && !isS3Error(error, 'AccessDenied')) throw error;
    }
  }

  /** False when there is nothing; throws ObjectExists when there is something else. */
  async function isThere(key: string, expect: () => Promise<ObjectFacts>): Promise<boolean> {
    const found = await headOrNull(store(), key);
    if (found && !(await isSame(found, await expect()))) throw otherContent(place(key));
    return found !== null;
  }

  async function mustBeSame(key: string, expect: ObjectFacts): Promise<StoredObject> {
    const found = await store().head(key);
    if (!(await isSame(found, expect))) throw otherContent(place(key));
    return found;
  }

  /** An object that was begun before its SHA-256 was known is read to find out. */
  async function isSame(found: StoredObject, { bytes, sha256 }: ObjectFacts): Promise<boolean> {
    return found.bytes === bytes && (found.sha256 ?? (await hashOf(store(), found.key))) === sha256;
  }
}

const anotherIsThere = [
  'PreconditionFailed',
  'ConditionalRequestConflict',
  'ObjectParentIsFile',
  'ExistingObjectIsDirectory',
];

function abortedElsewhere(place: string, cause: unknown): Failure {
  return new Failure('StoreUnreachable', `${place}: its upload was aborted by somebody else.`, {
    next: 'It is tried again by itself, from the beginning.',
    cause,
  });
}
