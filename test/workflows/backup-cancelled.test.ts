import { describe, expect, test } from '@jest/globals';
import { CancelledFailure } from '@temporalio/common';
import type { BackupResult } from '../../workflows/contracts.ts';
import { expectNothingLeft } from './expectations.ts';
import { stage, steps } from './open-stage.ts';
import { causes, until } from './stage.ts';
import { type StandIns, tellSending, untilCancelled, untilSent } from './stand-ins.ts';

const start = () => stage.start('backup', { source: 'shop' });

/** Cancels the job while one of its steps is under way, and waits for its end. */
async function cancelDuring(key: Parameters<StandIns['on']>[0]): Promise<void> {
  const begun = new Promise<void>((resolve) =>
    steps.on(
      key,
      untilCancelled(() => untilSent().then(resolve)),
    ),
  );
  const handle = await start();
  await begun;
  await handle.cancel();
  const chain = await causes(handle);
  expect(chain[0]).toBeInstanceOf(CancelledFailure);
}

describe('a backup that is cancelled', () => {
  test('while it waits for a slot leaves the queue, and has touched nothing', async () => {
    steps.on('requestSlot', () => ({ runId: 'nobody' }));
    const handle = await start();
    await until(handle, (s) => s.phase === 'slot');
    await until(handle, () => steps.done.includes('requestSlot'));
    await handle.cancel();
    await causes(handle);
    expect(steps.done).toEqual(['planBackup', 'requestSlot', 'releaseSlot', 'announceJob', 'concludeJob']);
    expect(steps.end()).toMatchObject({ outcome: 'cancelled', result: null });
  });

  test.each(['sealPoint', 'checkSealed', 'testRestore'] as const)(
    'during %s ends it there and leaves nothing',
    async (step) => {
      await cancelDuring(step);
      expect(steps.done.join(' ')).not.toMatch(/uploadCopy/);
      expect(steps.done.join(' ')).not.toMatch(/withdrawCopy/);
      expectNothingLeft(steps);
      expect(steps.end().outcome).toBe('cancelled');
    },
  );

  test('while copies are being sent ahead waits for their rest, and withdraws them', async () => {
    const order: string[] = [];
    const hang = untilCancelled(() => {});
    let told = 0;
    steps.on('sendArtifact', ({ copy }) =>
      untilCancelled(() => tellSending(copy).then(() => told++))().finally(() => order.push('at rest')),
    );
    steps.on('withdrawCopy', () => {
      order.push('withdrawn');
      return { published: false };
    });
    steps.on('discardStaging', () => void order.push('discarded'));
    steps.on('sealPoint', hang);
    const handle = await start();
    await until(handle, () => steps.attempts('sealPoint') === 1);
    await until(handle, () => told === 3);
    await handle.cancel();
    expect((await causes(handle))[0]).toBeInstanceOf(CancelledFailure);
    expect(order.filter((o) => o === 'withdrawn')).toHaveLength(3);
    expect(order.at(-1)).toBe('discarded');
    expectNothingLeft(steps);
  });

  test('during the uploads withdraws what was under way, and keeps and records what was published', async () => {
    steps.on(
      'uploadCopy east',
      untilCancelled(() => {}),
    );
    steps.on(
      'uploadCopy west',
      untilCancelled(() => {}),
    );
    const handle = await start();
    await until(handle, (s) => s.progressLine.includes('1/3 copies verified'));
    await handle.cancel();
    expect((await causes(handle))[0]).toBeInstanceOf(CancelledFailure);
    expect(steps.done.filter((d) => d.startsWith('withdrawCopy')).sort()).toEqual([
      'withdrawCopy east',
      'withdrawCopy west',
    ]);
    expect(steps.inputs.find((i) => i.step === 'recordPoint')?.input).toMatchObject({
      copies: [{ state: 'verified' }, { error: 'cancelled' }, { error: 'cancelled' }],
    });
    expect(steps.done).not.toContain('planPrune');
    expect(steps.end()).toMatchObject({ outcome: 'cancelled', leftovers: { staging: false, copies: [] } });
  });

  test('before any copy was published leaves no point anywhere', async () => {
    steps.on(
      'uploadCopy',
      untilCancelled(() => {}),
    );
    const handle = await start();
    await until(handle, (s) => s.phase === 'upload');
    await handle.cancel();
    await causes(handle);
    expectNothingLeft(steps);
    expect(steps.done.filter((d) => d.startsWith('withdrawCopy'))).toHaveLength(3);
  });

  test('while old copies are pruned only spares the pruning: the point stands', async () => {
    steps.on('planPrune', () => [{ pointId: 'old', parent: null, copy: 'disk', others: ['east', 'west'] }]);
    steps.on(
      'pruneCopy disk',
      untilCancelled(() => {}),
    );
    const handle = await start();
    await until(handle, (s) => s.phase === 'prune');
    await handle.cancel();
    const result: BackupResult = await handle.result();
    expect(result).toMatchObject({
      outcome: 'succeeded',
      warnings: [expect.stringContaining('the job was cancelled')],
    });
    expect(steps.end().outcome).toBe('succeeded');
  });
});
