import { Failure, type FailureType, isFailure } from '../../../policies/failure.ts';

interface S3Error {
  name?: string;
  code?: string;
  message?: string;
  $metadata?: { httpStatusCode?: number };
}

const byName: Record<string, FailureType> = {
  NoSuchBucket: 'BucketMissing',
  AccessDenied: 'StoreDenied',
  Forbidden: 'StoreDenied',
  InvalidAccessKeyId: 'StoreDenied',
  SignatureDoesNotMatch: 'StoreDenied',
  ExpiredToken: 'StoreDenied',
  CredentialsProviderError: 'StoreDenied',
  NoSuchKey: 'ObjectMissing',
  NotFound: 'ObjectMissing',
  NoSuchVersion: 'ObjectMissing',
  PreconditionFailed: 'ObjectExists',
  ConditionalRequestConflict: 'ObjectExists',
  BadDigest: 'ChecksumMismatch',
  InvalidDigest: 'ChecksumMismatch',
  XAmzContentChecksumMismatch: 'ChecksumMismatch',
  QuotaExceeded: 'StoreFull',
  InsufficientStorage: 'StoreFull',
  InvalidRange: 'UsageInvalid',
  NotImplemented: 'CapabilityMissing',
  ObjectLockConfigurationNotFoundError: 'CapabilityMissing',
};

const byStatus: Record<number, FailureType> = {
  401: 'StoreDenied',
  403: 'StoreDenied',
  404: 'ObjectMissing',
  409: 'ObjectExists',
  412: 'ObjectExists',
  416: 'UsageInvalid',
  501: 'CapabilityMissing',
  507: 'StoreFull',
};

const nextSteps: Partial<Record<FailureType, string>> = {
  BucketMissing: 'Make the bucket, or correct its name and region in the policy file.',
  StoreDenied: 'Check the access key, its secret and the bucket policy; nothing was written.',
  ObjectMissing: 'Use another copy; "backupctl catalog verify" shows what each holds.',
  ObjectExists: 'Nothing was overwritten. Objects are written once; use another key.',
  ChecksumMismatch: 'Nothing was stored; it is tried again by itself. If it stays, look at the network.',
  StoreFull: 'Free space there or raise its quota; the copy is tried again by itself.',
  CapabilityMissing: 'Use a server that can, or take the demand out of the policy.',
  UsageInvalid: 'Ask for a range within the object.',
};

/** The failure for what the SDK raised; its text never carries credentials. `place` names store, bucket and key. */
export function asFailure(error: unknown, place: string): Error {
  if (isFailure(error)) return error;
  const e = error as S3Error;
  if (e.name === 'AbortError' || e.code === 'ABORT_ERR') return error as Error;
  const status = e.$metadata?.httpStatusCode;
  const type = byName[e.name ?? ''] ?? byStatus[status ?? 0] ?? 'StoreUnreachable';
  const reason = [e.name, e.code, status && `HTTP ${status}`].filter((part) => part && part !== 'Error').join(', ');
  return new Failure(type, `${place}: ${wordsOf(type)} (${reason || 'no answer'}).`, {
    next: nextSteps[type] ?? 'Check the endpoint and the network; it is tried again by itself.',
    cause: error,
  });
}

function wordsOf(type: FailureType): string {
  switch (type) {
    case 'BucketMissing':
      return 'the bucket does not exist';
    case 'StoreDenied':
      return 'the server refuses these credentials';
    case 'ObjectMissing':
      return 'the object is not there';
    case 'ObjectExists':
      return 'another object is there already';
    case 'ChecksumMismatch':
      return 'what arrived is not what was sent';
    case 'StoreFull':
      return 'there is no space left';
    case 'CapabilityMissing':
      return 'the server cannot do this';
    case 'UsageInvalid':
      return 'the range lies outside of the object';
    default:
      return 'the server does not answer as it should';
  }
}
