import { describe, expect, test } from '@jest/globals';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { runActivity } from '../../activities/failure.ts';
import { Failure, type FailureType, failureTypes } from '../../policies/failure.ts';
import { activityEnvironment, errorOf } from './environment.ts';

const run = (body: Parameters<typeof runActivity>[1], environment = activityEnvironment()) =>
  environment.run(() => runActivity('work', body));
const thrown = (error: unknown) =>
  errorOf(
    run(async () => {
      throw error;
    }),
  );

describe('what an activity fails of', () => {
  test.each(Object.entries(failureTypes))(
    '%s crosses into the workflow with its type and retryability',
    async (type, { retryable }) => {
      const error = await thrown(
        new Failure(type as FailureType, 'shop burns', { next: 'Call somebody.', details: { bytes: 7 } }),
      );
      expect(error).toBeInstanceOf(ApplicationFailure);
      expect(error).toMatchObject({
        type,
        message: 'shop burns',
        nonRetryable: !retryable,
        details: [{ next: 'Call somebody.', bytes: 7 }],
      });
    },
  );

  test('takes nothing along of what lay behind it, which may quote a secret', async () => {
    const cause = new Error('connect postgresql://shop:hunter2@db/shop failed');
    const error = await thrown(new Failure('SourceUnreachable', 'shop does not answer.', { next: 'Wait.', cause }));
    expect(error).toMatchObject({ cause: undefined });
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('hunter2');
  });

  test('that nobody foresaw keeps its own words, and may be tried again', async () => {
    expect(await thrown(new RangeError('7 is too many'))).toMatchObject({
      name: 'RangeError',
      message: '7 is too many',
    });
    expect(await thrown('just a text')).toMatchObject({ message: 'just a text' });
  });

  test('once it was cancelled is the cancellation, whatever broke on the way out', async () => {
    const environment = activityEnvironment();
    const work = run(async ({ signal }) => {
      const broken = new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(new Error('broken pipe'))),
      );
      environment.cancel('CANCELLED');
      return broken;
    }, environment);
    expect(await errorOf(work)).toBeInstanceOf(CancelledFailure);
  });
});

describe('what an activity tells while it works', () => {
  test('begins at once, with what the last attempt had told: an attempt that dies early loses no token', async () => {
    const heartbeatDetails = { phase: 'upload', bytesDone: 5, bytesTotal: 9, entriesDone: 0, resume: { a: 'token' } };
    const environment = activityEnvironment({ heartbeatDetails });
    const previous = await run(async (tools) => tools.previous, environment);
    expect(previous).toEqual(heartbeatDetails);
    expect(environment.beats).toEqual([{ ...heartbeatDetails, phase: 'work' }]);
  });

  test('is kept together: each report adds to those before', async () => {
    const environment = activityEnvironment();
    await run(async ({ report }) => {
      report({ bytesTotal: 100 });
      report({ bytesDone: 40, resume: { a: 'one' } });
      report({ entriesDone: 3, resume: { a: 'one', b: 'two' } });
    }, environment);
    expect(environment.beats.at(-1)).toEqual({
      phase: 'work',
      bytesTotal: 100,
      bytesDone: 40,
      entriesDone: 3,
      resume: { a: 'one', b: 'two' },
    });
  });

  test('is told at once when it is a new token to resume from, and otherwise not at every step', async () => {
    const environment = activityEnvironment();
    await run(async ({ report }) => {
      for (let i = 0; i < 1_000; i++) report({ bytesDone: i });
      report({ resume: { a: 'one' } });
      for (let i = 0; i < 1_000; i++) report({ bytesDone: i });
      report({ resume: { a: 'two' } });
    }, environment);
    const tokens = environment.beats.map((b) => b.resume?.a);
    expect(tokens).toContain('one');
    expect(tokens.at(-1)).toBe('two');
    expect(environment.beats.length).toBeLessThan(200);
  });

  test('is nothing any more once it has ended', async () => {
    const environment = activityEnvironment();
    let report: (progress: { resume: Record<string, string> }) => void = () => {};
    await run(async (tools) => {
      ({ report } = tools);
    }, environment);
    const told = environment.beats.length;
    report({ resume: { a: 'late' } });
    expect(environment.beats).toHaveLength(told);
  });
});
