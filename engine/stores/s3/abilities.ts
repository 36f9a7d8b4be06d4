import { createHash } from 'node:crypto';
import {
  GetBucketVersioningCommand,
  GetObjectLockConfigurationCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  type ServerSideEncryption,
  type StorageClass,
} from '@aws-sdk/client-s3';
import { isFailure } from '../../../policies/failure.ts';
import type { StoreCapabilities } from '../store.ts';
import type { S3Context } from './context.ts';
import { asFailure, assertListing, isS3Error } from './errors.ts';

/** `unknown`: these credentials may not find out. */
export type Answer = 'yes' | 'no' | 'unknown';

/**
 * What the bucket and the server do for these credentials. Each is looked for once, when it is first asked for. The
 * server's errors come as they are: only the caller knows which object it is about.
 */
export interface Abilities {
  locking(): Promise<Answer>;
  /** `suspended` buckets make no new versions and may hold old ones. */
  versioning(): Promise<Answer | 'suspended'>;
  puts(): Promise<PutAbilities>;
  all(): Promise<StoreCapabilities>;
}

interface PutAbilities {
  conditional: Answer;
  /** What puts must not even ask for here: they would fail. */
  refuses: { storageClass: boolean; sse: boolean };
}

/**
 * Puts under a condition and storage classes show only in what becomes of an object. So there is one for that, `.probe`,
 * which every process puts again, under the condition that it is not there, and looks at: it is written once, nothing is
 * ever deleted or replaced, and a bucket that locks by default locks it like any other. Whether checksums are verified
 * shows in a put with a wrong one, `.probe-checksum`, which a server that verifies refuses.
 */
const probeKey = '.probe';
const probeText = 'Shows backup-coordinator what this store can do. It holds no backup, and is written once.\n';
const probeMetadata = { about: 'probe' };
const probeTags = { about: 'probe' };

export function createAbilities(context: S3Context): Abilities {
  const { client, options } = context;
  const Bucket = options.bucket;

  const locking = once(() =>
    answer(async () => {
      const found = await client.send(new GetObjectLockConfigurationCommand({ Bucket }));
      return found.ObjectLockConfiguration?.ObjectLockEnabled === 'Enabled' ? 'yes' : 'no';
    }),
  );
  const versioning = once(() =>
    answer(async () => {
      const { Status } = await client.send(new GetBucketVersioningCommand({ Bucket }));
      return Status === 'Enabled' ? 'yes' : Status === 'Suspended' ? 'suspended' : 'no';
    }),
  );
  const puts = once(() => probePuts(context));

  return {
    locking,
    versioning,
    puts,
    all: once(async () => {
      const { conditional } = await puts();
      const [looks, checksums, resume, lock, versions] = await Promise.all([
        lookAtProbe(context),
        answer(() => probeChecksums(context)),
        answer(async () => {
          const found = await client.send(new ListMultipartUploadsCommand({ Bucket, MaxUploads: 1 }));
          assertListing(context.place(''), found.Bucket);
          return 'yes';
        }),
        locking(),
        versioning(),
      ]);
      return {
        conditionalPut: conditional === 'yes',
        checksums: checksums === 'yes',
        resume: resume === 'yes',
        ...looks,
        lock: lock === 'yes',
        versioning: versions === 'yes',
      };
    }),
  };
}

/** What a look shows; a refusal shows nothing. */
async function answer<T extends string>(look: () => Promise<T | Answer>): Promise<T | Answer> {
  try {
    return await look();
  } catch (error) {
    const failure = asFailure(error, '');
    if (isFailure(failure, 'CapabilityMissing', 'ObjectMissing')) return 'no';
    if (isDenied(error)) return 'unknown';
    throw error;
  }
}

/** The credentials are good, and may not do this. */
function isDenied(error: unknown): boolean {
  return isS3Error(error, 'AccessDenied', 'AccessForbidden', 'AllAccessDisabled');
}

function probeOf({ options, base }: S3Context, key: string): PutObjectCommandInput {
  return {
    Bucket: options.bucket,
    Key: base + key,
    Body: probeText,
    ContentType: 'text/plain',
    Metadata: probeMetadata,
    Tagging: new URLSearchParams(probeTags).toString(),
    ChecksumSHA256: createHash('sha256').update(probeText).digest('base64'),
    IfNoneMatch: '*',
  };
}

const wantedClass = ({ options: { storageClass } }: S3Context) =>
  (storageClass === undefined || storageClass === 'STANDARD' ? 'STANDARD_IA' : storageClass) as StorageClass;
const wantedSse = ({ options }: S3Context) => (options.sse ?? 'AES256') as ServerSideEncryption;

async function probePuts(context: S3Context): Promise<PutAbilities> {
  const refuses = { storageClass: false, sse: false };
  const put = async (): Promise<'made' | 'there' | 'denied'> => {
    try {
      await context.client.send(
        new PutObjectCommand({
          ...probeOf(context, probeKey),
          ...(refuses.storageClass ? {} : { StorageClass: wantedClass(context) }),
          ...(refuses.sse ? {} : { ServerSideEncryption: wantedSse(context) }),
        }),
      );
      return 'made';
    } catch (error) {
      if (isS3Error(error, 'PreconditionFailed', 'ConditionalRequestConflict')) return 'there';
      if (isDenied(error)) return 'denied';
      if (!isRefusal(error)) throw error;
      // Storage classes are what most servers lack, then encryption; what is still refused is refused for another reason.
      if (!refuses.storageClass) refuses.storageClass = true;
      else if (!refuses.sse) Object.assign(refuses, { storageClass: false, sse: true });
      else throw error;
      return put();
    }
  };
  const first = await put();
  const second = first === 'made' ? await put() : first;
  return { conditional: second === 'denied' ? 'unknown' : second === 'there' ? 'yes' : 'no', refuses };
}

function isRefusal(error: unknown): boolean {
  return isS3Error(
    error,
    'InvalidStorageClass',
    'NotImplemented',
    'InvalidArgument',
    'InvalidRequest',
    'InvalidEncryptionAlgorithmError',
  );
}

function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
}

type Looks = Pick<StoreCapabilities, 'tags' | 'metadata' | 'storageClass' | 'sse'>;

/** What became of the probe. Nothing is known of a store where these credentials can neither make it nor see it. */
async function lookAtProbe(context: S3Context): Promise<Looks> {
  const at = { Bucket: context.options.bucket, Key: context.base + probeKey };
  try {
    const found = await context.client.send(new HeadObjectCommand(at));
    return {
      metadata: found.Metadata?.about === probeMetadata.about,
      // Servers without classes call all STANDARD, or nothing.
      storageClass: (found.StorageClass ?? 'STANDARD') !== 'STANDARD',
      sse: found.ServerSideEncryption !== undefined,
      tags: await keepsTags(context, at),
    };
  } catch (error) {
    if (statusOf(error) !== 403 && statusOf(error) !== 404) throw error;
    return { metadata: false, storageClass: false, sse: false, tags: false };
  }
}

async function keepsTags({ client }: S3Context, at: { Bucket: string; Key: string }): Promise<boolean> {
  try {
    const { TagSet } = await client.send(new GetObjectTaggingCommand(at));
    return TagSet?.find((t) => t.Key === 'about')?.Value === probeTags.about;
  } catch (error) {
    if (statusOf(error) !== 403 && statusOf(error) !== 501) throw error;
    return false;
  }
}

async function probeChecksums(context: S3Context): Promise<Answer> {
  const wrong = createHash('sha256').update('something else').digest('base64');
  try {
    await context.client.send(
      new PutObjectCommand({ ...probeOf(context, `${probeKey}-checksum`), ChecksumSHA256: wrong }),
    );
    return 'no';
  } catch (error) {
    // One that took it once has it still.
    if (isS3Error(error, 'PreconditionFailed')) return 'no';
    if (statusOf(error) === 400) return 'yes';
    throw error;
  }
}

/** Runs a look once; a failed one is no answer, and the next caller looks again. */
function once<T>(look: () => Promise<T>): () => Promise<T> {
  let known: Promise<T> | null = null;
  return () => {
    known ??= look().catch((error: unknown) => {
      known = null;
      throw error;
    });
    return known;
  };
}
