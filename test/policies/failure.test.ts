import { describe, expect, test } from '@jest/globals';
import { Failure, type FailureType, failureTypes, isFailure } from '../../policies/failure.ts';

const types = Object.keys(failureTypes) as FailureType[];

describe('a failure', () => {
  test('carries its type, what to do next, and facts for programs', () => {
    const cause = new Error('ENOSPC');
    const failure = new Failure('StoreFull', 'The disk of "server" is full.', {
      next: 'Free space there.',
      cause,
      details: { bytesFree: 0 },
    });
    expect(failure).toMatchObject({
      name: 'Failure',
      type: 'StoreFull',
      message: 'The disk of "server" is full.',
      next: 'Free space there.',
      details: { bytesFree: 0 },
      cause,
      retryable: true,
      exitCode: 5,
    });
  });

  test('has no cause when there is none', () => {
    expect('cause' in new Failure('StoreFull', 'Full.', { next: 'Free space.' })).toBe(false);
  });

  test('is told apart from other errors, and by its type', () => {
    const failure = new Failure('KeyWrong', 'No identity opens it.', { next: 'Use the right one.' });
    expect(isFailure(failure)).toBe(true);
    expect(isFailure(failure, 'KeyMissing', 'KeyWrong')).toBe(true);
    expect(isFailure(failure, 'KeyMissing')).toBe(false);
    expect(isFailure(new Error('KeyWrong'))).toBe(false);
    expect(isFailure(null)).toBe(false);
  });
});

describe('the types of failures', () => {
  test.each(types)('%s ends with a code that is neither success nor "unforeseen"', (type) => {
    expect(failureTypes[type].exitCode).toBeGreaterThanOrEqual(2);
    expect(failureTypes[type].exitCode).toBeLessThanOrEqual(130);
  });

  test('what a person must mend is not tried again: wrong requests, keys and damage', () => {
    const hopeless = types.filter((t) => [2, 3, 6, 7, 9].includes(failureTypes[t].exitCode));
    expect(hopeless.filter((t) => failureTypes[t].retryable)).toEqual([]);
  });

  test('what passes by itself is tried again: networks, full disks, services that are away', () => {
    for (const type of types.filter((t) => /Unreachable$|Full$/.test(t)))
      expect(failureTypes[type].retryable).toBe(true);
  });
});
