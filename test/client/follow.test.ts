import { expect, test } from '@jest/globals';
import type { Context } from '../../client/context.ts';
import { follow } from '../../client/follow.ts';
import { createOutput } from '../../client/output.ts';

test('whoever looked at a job has no call under way any more once it has ended: its connection may be closed', async () => {
  const ended = Promise.withResolvers<string>();
  const answer = Promise.withResolvers<string>();
  const handle = { result: () => ended.promise, describe: async () => ({ raw: {} }) };
  const nobody = { write: () => true };
  const out = createOutput({
    streams: { stdout: nobody, stderr: nobody },
    env: {},
    json: true,
    quiet: true,
    color: false,
  });
  const context = { out, temporal: async () => ({ workflow: { getHandle: () => handle } }) } as unknown as Context;
  const order: string[] = [];
  const following = follow<string>(context, {
    started: { workflowId: 'backup/shop/1', runId: '1' },
    line: () => {
      ended.resolve('done');
      setTimeout(() => {
        order.push('the last call is answered');
        answer.resolve('💾');
      }, 50);
      return answer.promise;
    },
  });
  expect(await following).toBe('done');
  order.push('the command goes on');
  expect(order).toEqual(['the last call is answered', 'the command goes on']);
});
