import { describe, expect, test } from '@jest/globals';
import { describeError } from '../../client/errors.ts';
import { Failure } from '../../policies/failure.ts';

/** An error with more fields, as Temporal's classes have them. */
function wrapped(name: string, more: object, cause?: unknown): Error {
  return Object.assign(new Error(name, { cause }), { name }, more);
}

describe('an error', () => {
  test('of ours keeps its words', () => {
    expect(describeError(new Failure('StoreFull', 'The disk is full.', { next: 'Free space.' }))).toEqual({
      type: 'StoreFull',
      message: 'The disk is full.',
      next: 'Free space.',
      exitCode: 5,
    });
  });

  test('that crossed a workflow is told by its innermost reason', () => {
    const reason = wrapped('ApplicationFailure', {
      type: 'TargetNotEmpty',
      message: 'It holds a file.',
      details: [{ next: 'Empty it.' }],
    });
    const error = wrapped('WorkflowFailedError', {}, wrapped('ActivityFailure', {}, reason));
    expect(describeError(error)).toEqual({
      type: 'TargetNotEmpty',
      message: 'It holds a file.',
      next: 'Empty it.',
      exitCode: 4,
    });
  });

  test('of a type that is none of ours does not pass for one', () => {
    const error = wrapped(
      'WorkflowFailedError',
      {},
      wrapped('ApplicationFailure', { type: 'TypeError', message: 'x is undefined' }),
    );
    expect(describeError(error)).toMatchObject({ type: 'Unexpected', message: 'x is undefined', exitCode: 1 });
  });

  test('of a job that was cancelled says so', () => {
    expect(describeError(wrapped('WorkflowFailedError', {}, wrapped('CancelledFailure', {})))).toMatchObject({
      type: 'Interrupted',
      exitCode: 130,
    });
  });

  test('of a connection to Temporal that broke says so', () => {
    expect(describeError(wrapped('ServiceError', {}, wrapped('Error', { code: 14 })))).toMatchObject({
      type: 'TemporalUnreachable',
      exitCode: 8,
    });
  });

  test('that refers to itself comes to an end', () => {
    const error = new Error('round');
    error.cause = error;
    expect(describeError(error)).toMatchObject({ message: 'round' });
  });
});
