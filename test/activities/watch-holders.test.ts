import { expect, test } from '@jest/globals';
import { CancelledFailure } from '@temporalio/common';
import { createWatchHolders } from '../../activities/watch-holders.ts';
import { activityEnvironment, errorOf } from './environment.ts';

const jobs = ['a', 'b', 'c'].map((workflowId) => ({ workflowId, runId: `${workflowId}-1` }));

test('a watch ends as soon as some of its jobs are gone, and names the runs that go on in their place', async () => {
  let looks = 0;
  const { watchHolders } = createWatchHolders({
    openRun: async (workflowId, runId) => {
      looks += 1;
      if (looks <= jobs.length || workflowId === 'a') return runId;
      return workflowId === 'b' ? null : 'c-2';
    },
  });
  const gone = await activityEnvironment().run(watchHolders, { jobs, leaseTimeoutMs: 6 });
  expect(gone).toEqual([
    { workflowId: 'b', runId: 'b-1', resetTo: null },
    { workflowId: 'c', runId: 'c-1', resetTo: 'c-2' },
  ]);
});

test('a watch that is no longer wanted ends as cancelled', async () => {
  const environment = activityEnvironment();
  const { watchHolders } = createWatchHolders({
    openRun: async (_, runId) => {
      environment.cancel('CANCELLED');
      return runId;
    },
  });
  const error = await errorOf(environment.run(watchHolders, { jobs, leaseTimeoutMs: 60_000 }));
  expect(error).toBeInstanceOf(CancelledFailure);
});

test('a watch takes nobody for gone because Temporal does not answer', async () => {
  const { watchHolders } = createWatchHolders({ openRun: () => Promise.reject(new Error('no answer')) });
  const error = await errorOf(activityEnvironment().run(watchHolders, { jobs, leaseTimeoutMs: 6 }));
  expect(error.message).toBe('no answer');
});
