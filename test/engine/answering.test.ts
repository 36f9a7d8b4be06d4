import { expect, test } from '@jest/globals';
import { assertAnswers, assertTargetAnswers, watchSilence } from '../../engine/answering.ts';
import { eventually } from '../support/eventually.ts';
import { failureOf } from './artifact/sealing.ts';

test('silence is the same work under way for long, not work that goes on, nor none', async () => {
  const told: string[] = [];
  let serial = 0;
  const stops = [
    watchSilence(
      () => ({ id: 'the same' }),
      () => told.push('the same'),
      200,
    ),
    watchSilence(
      () => ({ id: serial++ }),
      () => told.push('always another'),
      200,
    ),
    watchSilence(
      () => undefined,
      () => told.push('none'),
      200,
    ),
  ];
  // Three times as long as is waited for.
  await eventually(() => expect(serial).toBeGreaterThan(30));
  for (const stop of stops) stop();
  expect(told).toEqual(['the same']);
});

test('a folder to restore into that does not answer is told in time, and at once from then on, until it answers', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = () => promise;
  const unusable = { type: 'TargetUnusable', message: expect.stringContaining('/mnt/away/back does not answer') };
  expect(await failureOf(assertTargetAnswers('/mnt/away/back', 100, look))).toMatchObject(unusable);
  expect(await failureOf(assertTargetAnswers('/mnt/away/back/again'))).toMatchObject(unusable);
  expect(() => assertAnswers('/mnt/away')).toThrow('is asked nothing');
  resolve();
  await eventually(() => assertAnswers('/mnt/away'));
  // That there is none is an answer.
  await assertTargetAnswers('/mnt/away/back');
});
