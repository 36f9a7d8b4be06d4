import { Failure, type FailureType, isFailure } from '../../../policies/failure.ts';

interface S3Error {
  name?: string;
  code?: string;
  message?: string;
  syscall?: string;
  $metadata?: { httpStatusCode?: number };
}

/** What a failure is called, and, where its type has not said it all, what happened and what to do. */
type Meaning = [type: FailureType, words?: string, next?: string];

const region: Meaning = [
  'StoreDenied',
  'the server says that the bucket is in another region',
  'Correct region (and endpoint) of this copy in the policy file.',
];
const clocks: Meaning = [
  'StoreUnreachable',
  "the server's clock and ours differ too much",
  'Set both by NTP; it is tried again by itself.',
];
const taken: Meaning = ['ObjectExists', 'another object lies above or below this key'];
const badName: Meaning = ['BucketMissing', 'that is no name for a bucket'];
const busy: Meaning = [
  'StoreUnreachable',
  'another request for the same object was under way',
  'It is tried again by itself.',
];
const noLock: Meaning = [
  'CapabilityMissing',
  'the bucket has no Object Lock',
  'Make a bucket with Object Lock for it.',
];

const byName: Record<string, Meaning> = {
  NoSuchBucket: ['BucketMissing'],
  InvalidBucketName: badName,
  AccessDenied: ['StoreDenied'],
  AccessForbidden: ['StoreDenied'],
  AllAccessDisabled: ['StoreDenied'],
  Forbidden: ['StoreDenied'],
  InvalidAccessKeyId: ['StoreDenied', 'the server does not know this access key'],
  SignatureDoesNotMatch: ['StoreDenied', 'the secret does not belong to this access key'],
  ExpiredToken: ['StoreDenied', 'the credentials have expired'],
  InvalidToken: ['StoreDenied'],
  CredentialsProviderError: ['StoreDenied', 'there are no credentials', 'Give the copy its keys in the policy file.'],
  AuthorizationHeaderMalformed: region,
  AuthorizationQueryParametersError: region,
  PermanentRedirect: region,
  IllegalLocationConstraintException: region,
  RequestTimeTooSkewed: clocks,
  RequestTimeout: [
    'StoreUnreachable',
    'the request came too slowly',
    'Look at the network; it is tried again by itself.',
  ],
  NoSuchKey: ['ObjectMissing'],
  NotFound: ['ObjectMissing'],
  NoSuchVersion: ['ObjectMissing'],
  NoSuchUpload: ['ObjectMissing', 'what was pending for it is gone', 'Put it again.'],
  PreconditionFailed: ['ObjectExists'],
  ObjectParentIsFile: taken,
  ExistingObjectIsDirectory: taken,
  ConditionalRequestConflict: busy,
  OperationAborted: busy,
  BadDigest: ['ChecksumMismatch'],
  InvalidDigest: ['ChecksumMismatch'],
  InvalidPart: ['ChecksumMismatch', 'the server does not hold the parts that were sent'],
  IncompleteBody: ['ChecksumMismatch'],
  XAmzContentChecksumMismatch: ['ChecksumMismatch'],
  XAmzContentSHA256Mismatch: ['ChecksumMismatch'],
  QuotaExceeded: ['StoreFull'],
  InsufficientStorage: ['StoreFull'],
  XMinioStorageFull: ['StoreFull'],
  InvalidRange: ['UsageInvalid', 'the range lies outside of the object', 'Ask for a range within it.'],
  KeyTooLongError: ['UsageInvalid', 'the key is too long', 'Use a shorter one.'],
  MetadataTooLarge: ['UsageInvalid', 'the metadata are too large', 'S3 takes 2 KB of them.'],
  InvalidTag: [
    'UsageInvalid',
    'the server does not take these tags',
    'S3 takes 10, in letters, digits, blanks, +-=._:/@.',
  ],
  EntityTooLarge: ['UsageInvalid', 'the object is too large for the server', 'Split the source.'],
  EntityTooSmall: ['UsageInvalid', 'the parts are too small for the server', 'Set partBytes to 5 MiB or more.'],
  InvalidObjectState: ['StoreDenied', 'the object is archived', 'Have it restored from the archive first.'],
  InvalidStorageClass: ['CapabilityMissing', 'the server has no such storage class'],
  NotImplemented: ['CapabilityMissing'],
  ObjectLockConfigurationNotFoundError: noLock,
  NoSuchObjectLockConfiguration: noLock,
};

const byStatus: Record<number, Meaning> = {
  301: region,
  307: region,
  400: ['StoreDenied', 'the server refuses the request', 'Check region, endpoint and keys of this copy.'],
  401: ['StoreDenied'],
  403: ['StoreDenied'],
  404: ['ObjectMissing'],
  405: ['CapabilityMissing'],
  409: busy,
  412: ['ObjectExists'],
  416: ['UsageInvalid', 'the range lies outside of the object', 'Ask for a range within it.'],
  501: ['CapabilityMissing'],
  507: ['StoreFull'],
};

const inGeneral: Partial<Record<FailureType, [words: string, next: string]>> = {
  BucketMissing: ['the bucket does not exist', 'Make it, or correct its name and region in the policy file.'],
  StoreDenied: [
    'the server refuses these credentials',
    'Check the access key, its secret and the bucket policy; nothing was written.',
  ],
  ObjectMissing: ['the object is not there', 'Use another copy; "backupctl catalog verify" shows what each holds.'],
  ObjectExists: [
    'another object is there already',
    'Nothing was overwritten. Objects are written once; use another key.',
  ],
  ChecksumMismatch: [
    'what arrived is not what was sent',
    'Nothing was stored; it is tried again by itself. If it stays, look at the network.',
  ],
  StoreFull: ['there is no space left', 'Free space there or raise its quota; the copy is tried again by itself.'],
  CapabilityMissing: ['the server cannot do this', 'Use a server that can, or take the demand out of the policy.'],
};

/**
 * The failure for what the SDK raised. `place` names store, bucket and key. The server's own words are left out: what it
 * echoes is not ours to vouch for. Aborts and defects of ours stay what they are.
 */
export function asFailure(error: unknown, place: string, { endpoint }: { endpoint?: string } = {}): Error {
  if (isFailure(error)) return error;
  const e = error as S3Error;
  if (e.name === 'AbortError' || e.code === 'ABORT_ERR' || !isOfTheStore(e)) return error as Error;
  const status = e.$metadata?.httpStatusCode;
  const host = endpoint === undefined ? '' : ` at ${hostOf(endpoint)}`;
  const [type, words, next] = byName[e.name ?? ''] ??
    byStatus[status ?? 0] ?? [
      'StoreUnreachable',
      `the server${host} does not answer as it should`,
      'Check the endpoint and the network; it is tried again by itself.',
    ];
  const reason = [e.name, e.code, status && `HTTP ${status}`].filter((part) => part && part !== 'Error').join(', ');
  const [usualWords, usualNext] = inGeneral[type] ?? ['it failed', 'It is tried again by itself.'];
  return new Failure(type, `${place}: ${words ?? usualWords} (${reason || 'no answer'}).`, {
    next: next ?? usualNext,
    cause: error,
  });
}

/** Whether the server, the network or the SDK's credentials failed. What else is thrown is a defect of ours. */
function isOfTheStore(e: S3Error): boolean {
  return (
    e.$metadata !== undefined ||
    e.syscall !== undefined ||
    e.name === 'TimeoutError' ||
    e.name === 'CredentialsProviderError' ||
    (typeof e.code === 'string' && !e.code.startsWith('ERR_')) ||
    (e.code?.startsWith('ERR_TLS') ?? false)
  );
}

/** Without what else an address may carry. */
function hostOf(endpoint: string): string {
  return URL.canParse(endpoint) ? new URL(endpoint).host : 'its endpoint';
}

/** True for an error of the server's by one of these names. */
export function isS3Error(error: unknown, ...names: string[]): boolean {
  return names.includes((error as S3Error).name ?? '');
}

export function unusableKey(place: string): Failure {
  return new Failure('UsageInvalid', `${place}: with the store's prefix the key has more than 1,024 bytes.`, {
    next: 'Use a shorter key or prefix.',
  });
}

export function otherContent(place: string): Failure {
  return new Failure('ObjectExists', `${place}: it is there already, with other content.`, {
    next: 'Nothing was overwritten. Objects are written once; use another key.',
  });
}

/** What came from the source is not what it promised. */
export function notAsPromised(place: string, what: string): Failure {
  return new Failure('ChecksumMismatch', `${place}: what its source gave is not what was promised: ${what}.`, {
    next: 'Nothing was stored; it is tried again by itself. If it stays, the staged file is damaged: run the backup again.',
  });
}

/** A put is to be completed that has not been sent whole, or not only by us. */
export function notWhole(place: string): Failure {
  return new Failure('ChecksumMismatch', `${place}: the server does not hold just the parts that were sent.`, {
    next: 'Nothing was stored; it is tried again by itself.',
  });
}

/** A page of something else, as proxies and portals give it, must not pass for an empty bucket. */
export function assertListing(place: string, bucket: string | undefined): void {
  if (bucket) return;
  throw new Failure('StoreUnreachable', `${place}: what answers is no S3 server.`, {
    next: 'Check the endpoint and what stands between; it is tried again by itself.',
  });
}
