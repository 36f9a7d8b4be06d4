import { connect } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { asFailure } from '../../../engine/stores/s3/errors.ts';
import { Failure, type FailureType, isFailure } from '../../../policies/failure.ts';

const place = 'offsite (bucket backups), shop/object';

const fromServer = (name: string, status: number) =>
  Object.assign(new Error('x'), { name, $metadata: { httpStatusCode: status } });

describe('an answer of an S3 server', () => {
  test.each<[string, number, FailureType, boolean]>([
    ['NoSuchBucket', 404, 'BucketMissing', false],
    ['InvalidBucketName', 400, 'BucketMissing', false],
    ['AccessDenied', 403, 'StoreDenied', false],
    ['ExpiredToken', 400, 'StoreDenied', false],
    ['PermanentRedirect', 301, 'StoreDenied', false],
    ['AuthorizationHeaderMalformed', 400, 'StoreDenied', false],
    ['InvalidObjectState', 403, 'StoreDenied', false],
    ['NoSuchKey', 404, 'ObjectMissing', false],
    ['PreconditionFailed', 412, 'ObjectExists', false],
    ['ConditionalRequestConflict', 409, 'StoreUnreachable', true],
    ['OperationAborted', 409, 'StoreUnreachable', true],
    ['RequestTimeTooSkewed', 403, 'StoreUnreachable', true],
    ['SlowDown', 503, 'StoreUnreachable', true],
    ['TooManyRequests', 429, 'StoreUnreachable', true],
    ['InternalError', 500, 'StoreUnreachable', true],
    ['RequestTimeout', 400, 'StoreUnreachable', true],
    ['BadDigest', 400, 'ChecksumMismatch', true],
    ['InvalidPart', 400, 'ChecksumMismatch', true],
    ['QuotaExceeded', 403, 'StoreFull', true],
    ['XMinioStorageFull', 507, 'StoreFull', true],
    ['InvalidRange', 416, 'UsageInvalid', false],
    ['MetadataTooLarge', 400, 'UsageInvalid', false],
    ['NotImplemented', 501, 'CapabilityMissing', false],
    ['SomethingNew', 403, 'StoreDenied', false],
    ['SomethingNew', 400, 'StoreDenied', false],
    ['SomethingNew', 507, 'StoreFull', true],
    ['SomethingNew', 599, 'StoreUnreachable', true],
  ])('named %s (%d) is %s', (name, status, type, retryable) => {
    const failure = asFailure(fromServer(name, status), place) as Failure;
    expect([failure.type, failure.retryable]).toEqual([type, retryable]);
    expect(failure.message).toMatch(
      new RegExp(`^offsite \\(bucket backups\\), shop/object: .+ \\(${name}, HTTP ${status}\\)\\.$`),
    );
    expect(failure.next).toMatch(/\.$/);
  });
});

describe('what is no answer of a server', () => {
  test('is unreachable when the network failed, and names the host without what else the address may hold', async () => {
    const error = await new Promise((resolve) => connect(1, '127.0.0.1').once('error', resolve));
    const failure = asFailure(error, place, { endpoint: 'https://user:secret@store.example:9000/path' }) as Failure;
    expect(failure.type).toBe('StoreUnreachable');
    expect(failure.message).toContain('the server at store.example:9000 does not answer as it should (ECONNREFUSED)');
    expect(failure.message).not.toContain('secret');
  });

  test('stays what it is when it is an abort, a defect of ours, or a failure already', () => {
    const failure = new Failure('StoreFull', 'full', { next: 'Wait.' });
    for (const error of [new DOMException('aborted', 'AbortError'), new TypeError('x is not a function'), failure]) {
      expect(asFailure(error, place)).toBe(error);
    }
    expect(isFailure(asFailure(Object.assign(new Error('no keys'), { name: 'CredentialsProviderError' }), place))).toBe(
      true,
    );
  });
});
