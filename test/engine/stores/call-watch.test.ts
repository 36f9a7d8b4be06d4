import { lstat } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { type CallWatch, type WatchedCall, watchCalls } from '../../../engine/stores/directory/call-watch.ts';
import { isFailure } from '../../../policies/failure.ts';
import { failureType } from './fixture.ts';

const silentMaxMs = 50;
const watch = () => watchCalls({ name: 'nas', root: '/mnt/nas', silentMaxMs });

/** A call that returns when it is told to. */
function byHand<T>(watch: CallWatch, value: T, more: Partial<WatchedCall<T>> = {}) {
  const { promise, resolve } = Promise.withResolvers<T>();
  let isBegun = false;
  const start = () => {
    isBegun = true;
    return promise;
  };
  const ended = watch.run({ what: 'lstat /mnt/nas/a', start, ...more });
  ended.catch(() => {});
  return { ended, isBegun: () => isBegun, goOn: () => resolve(value) };
}

const quick = (watch: CallWatch) => watch.run({ what: 'stat /mnt/nas', start: async () => 'done' });

test('a call that does not return is given up on, and told with store, folder, call, time and what to do', async () => {
  const hung = byHand(watch(), 1);
  const error = await hung.ended.catch((e: unknown) => e);
  if (!isFailure(error)) throw error;
  expect([error.type, error.retryable]).toEqual(['StoreUnreachable', true]);
  expect(error.message).toBe(
    'nas (/mnt/nas): the file system does not answer: "lstat /mnt/nas/a" has not returned for 50 ms.',
  );
  expect(error.next).toContain('Look at the mount of /mnt/nas');
});

test('what goes on is not given up on, however long it takes: every call is given its time', async () => {
  const slow = watch();
  for (let i = 0; i < 5; i++) {
    const start = () => setTimeout(silentMaxMs / 2, i);
    expect(await slow.run({ what: 'write /mnt/nas/a', start })).toBe(i);
  }
});

test('while a call is silent no other is made: each is refused at once, those that waited for their turn too', async () => {
  const one = watch();
  const hung = [byHand(one, 1), byHand(one, 2)];
  const waiting = byHand(one, 3);
  await Promise.all(hung.map(async ({ ended }) => expect(await failureType(ended)).toBe('StoreUnreachable')));
  await expect(waiting.ended).rejects.toThrow(/has not answered since .*"lstat \/mnt\/nas\/a" has not returned/);
  const later = byHand(one, 4);
  await expect(later.ended).rejects.toThrow(/nothing more is asked of it/);
  expect([waiting.isBegun(), later.isBegun()]).toEqual([false, false]);
  // Another folder is none of this.
  expect(await quick(watch())).toBe('done');
  hung[0]?.goOn();
  await Promise.resolve();
  await expect(quick(one)).rejects.toThrow(/has not answered/);
  hung[1]?.goOn();
  await setTimeout();
  expect(await quick(one)).toBe('done');
});

test('a folder takes at most half of the threads that all share', async () => {
  const one = watch();
  const calls = [1, 2, 3].map((i) => byHand(one, i));
  await setTimeout();
  expect(calls.map((c) => c.isBegun())).toEqual([true, true, false]);
  calls[1]?.goOn();
  await setTimeout();
  expect(calls[2]?.isBegun()).toBe(true);
  for (const call of calls) call.goOn();
  expect(await Promise.all(calls.map((c) => c.ended))).toEqual([1, 2, 3]);
});

test('what a call brings after it was given up on is put away, and what was owed meanwhile is made up for', async () => {
  const one = watch();
  const late: number[] = [];
  const hung = byHand(one, 7, { late: (value) => late.push(value) });
  await failureType(hung.ended);
  const owed = byHand(one, 8, { isOwed: true });
  expect(await failureType(owed.ended)).toBe('StoreUnreachable');
  expect([late, owed.isBegun()]).toEqual([[], false]);
  hung.goOn();
  await setTimeout();
  expect([late, owed.isBegun()]).toEqual([[7], true]);
});

test('a process that was stopped takes no answer for late that came meanwhile', async () => {
  const asked = watch().run({ what: 'lstat /', start: () => lstat('/') });
  await Promise.resolve();
  // The thread that asks the file system goes on; this one does nothing.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4 * silentMaxMs);
  expect((await asked).isDirectory()).toBe(true);
});
