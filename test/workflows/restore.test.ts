import { describe, expect, test } from '@jest/globals';
import { CancelledFailure } from '@temporalio/common';
import type { FailureType } from '../../policies/failure.ts';
import type { RestoreResult } from '../../workflows/contracts.ts';
import { stage, steps } from './open-stage.ts';
import { causes, labelsOf, reasonOf } from './stage.ts';
import { failure, plan, untilCancelled } from './stand-ins.ts';

const asked = { source: 'shop', into: { directory: '/restored' }, operator: 'Ada', reason: 'the disk burnt' };

describe('a restore', () => {
  test('finds the point, restores it, and says who asked for it, in the Web UI, its lists and the log', async () => {
    const handle = await stage.start('restore', { ...asked, pointId: plan.pointId, paths: ['docs/**'] });
    const result: RestoreResult = await handle.result();
    expect(result).toMatchObject({ pointId: plan.pointId, from: 'west', entries: 7, bytes: 3_000_000 });
    expect(steps.done).toEqual(['locatePoint', 'restorePoint', 'keepRestore']);
    expect(steps.inputs[1]?.input).toEqual({ ...asked, paths: ['docs/**'], pointId: plan.pointId, from: 'west' });
    expect(await labelsOf(handle)).toMatchObject({ BackupSource: 'shop', BackupStatus: 'succeeded' });
    const { currentDetails } = await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata');
    expect(currentDetails).toMatch(/Restored `shop-.*` from west: 2.86 MiB, 7 entries\n\nAsked by Ada: the disk burnt/);
    const said = stage.logged.filter((l) => l.meta?.workflowId === handle.workflowId && l.meta?.operator === 'Ada');
    expect(said.map((l) => l.meta?.status)).toEqual(['running', 'running', 'succeeded']);
  });

  test.each([
    ['no operator', { ...asked, operator: undefined }, /no operator is named/],
    [
      'an empty operator and an empty reason',
      { ...asked, operator: ' ', reason: '' },
      /no operator is named; no reason/,
    ],
    ['a reason that is no text', { ...asked, reason: 7 }, /no reason is given/],
    ['nothing at all', undefined, /no operator is named; no reason is given/],
  ])('is refused with %s', async (_, input, said) => {
    const [cause] = await causes(await stage.start('restore', input));
    expect(cause).toMatchObject({ type: 'NotHumanTriggered', message: expect.stringMatching(said) });
    expect(cause?.details).toEqual([{ next: expect.stringContaining('--operator NAME --reason TEXT') }]);
    expect(steps.done).toEqual([]);
  });

  test('is refused when another workflow starts it, whatever that says', async () => {
    const parent = await stage.start('parentOfRestore', asked);
    expect(await causes(parent)).toContainEqual(
      expect.objectContaining({
        type: 'NotHumanTriggered',
        message: expect.stringContaining('started by another workflow'),
      }),
    );
    expect(steps.done).toEqual([]);
  });

  test.each([
    ['no target', { into: undefined }, /into/],
    ['two targets', { into: { directory: '/a', databaseUri: 'postgresql://b/c' } }, /into/],
    ['a misspelt key', { pointid: 'x' }, /pointid/],
  ])('with %s is told what does not fit', async (_, wrong, said) => {
    const [cause] = await causes(await stage.start('restore', { ...asked, ...wrong }));
    expect(cause).toMatchObject({ type: 'UsageInvalid', message: expect.stringMatching(said) });
    expect(steps.done).toEqual([]);
  });

  test('is tried three times when trying can help, once when it cannot, and says what it failed of', async () => {
    steps.on('restorePoint', () => {
      throw failure('StoreUnreachable', 'west is away', true);
    });
    const handle = await stage.start('restore', asked);
    expect((await causes(handle)).at(-1)).toMatchObject({ type: 'StoreUnreachable', message: 'west is away' });
    expect(steps.attempts('restorePoint')).toBe(3);
    // The last attempt may have been killed.
    expect(steps.done.at(-1)).toBe('discardRestore');
    expect(await labelsOf(handle)).toMatchObject({ BackupStatus: 'failed' });
    steps.clear();
    steps.on('restorePoint', () => {
      throw failure('TargetNotEmpty', '/restored is not empty', false);
    });
    expect((await causes(await stage.start('restore', asked))).at(-1)).toMatchObject({ type: 'TargetNotEmpty' });
    expect(steps.attempts('restorePoint')).toBe(1);
  });

  test('is over once its folder is no longer marked; one that stays marked is whole all the same, and the result says so', async () => {
    steps.on('keepRestore', () => {
      throw failure('TargetUnusable', 'the folder is read-only', false);
    });
    const result: RestoreResult = await (await stage.start('restore', asked)).result();
    expect(result.warnings).toEqual([expect.stringMatching(/^\/restored is whole, but .*: the folder is read-only$/)]);
    expect(steps.done).not.toContain('discardRestore');
  });

  test('into a database has no folder that is marked', async () => {
    await (await stage.start('restore', { ...asked, into: { databaseUri: 'postgresql://db/shop' } })).result();
    expect(steps.done).toEqual(['locatePoint', 'restorePoint']);
  });

  test('that is cancelled once it is through has ended well', async () => {
    const begun = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    steps.on('keepRestore', () => {
      begun.resolve();
      return goOn.promise;
    });
    const handle = await stage.start('restore', asked);
    await begun.promise;
    await handle.cancel();
    goOn.resolve();
    expect(await handle.result()).toMatchObject({ entries: 7 });
    expect(steps.done).not.toContain('discardRestore');
  });

  describe('whose copy has lost the point since it was found', () => {
    const lost = (copy: string, type: FailureType = 'ObjectMissing') => {
      throw failure(type, `${copy} has no recovery point ${plan.pointId}`, false);
    };
    /** Of these copies, the first that is not to be passed over. */
    const heldBy = (...copies: string[]) =>
      steps.on('locatePoint', ({ pointId, passOver = [] }) => {
        const from = copies.find((copy) => !passOver.includes(copy));
        if (from === undefined) throw failure('CopyUnknown', 'no copy holds it', false);
        return { pointId: pointId ?? plan.pointId, from };
      });
    const inputsOf = (step: string) => steps.inputs.filter((i) => i.step === step).map((i) => i.input);

    test.each<FailureType>(['ObjectMissing', 'KeyMissing', 'ChainBroken'])(
      'reads that very point from another one, once nothing is left of the first try (%s)',
      async (type) => {
        heldBy('disk', 'east');
        steps.on('restorePoint', ({ pointId, from }) => {
          if (from === 'disk') lost(from, type);
          return { pointId, from, entries: 7, bytes: 3_000_000, warnings: ['a name was changed'] };
        });
        const handle = await stage.start('restore', asked);
        expect(await handle.result()).toMatchObject({
          pointId: plan.pointId,
          from: 'east',
          warnings: [`Not from disk: disk has no recovery point ${plan.pointId}`, 'a name was changed'],
        });
        const each = ['locatePoint', 'restorePoint'];
        expect(steps.done).toEqual([...each, 'discardRestore', ...each, 'keepRestore']);
        expect(inputsOf('locatePoint')).toEqual([asked, { ...asked, pointId: plan.pointId, passOver: ['disk'] }]);
        expect(inputsOf('restorePoint')[1]).toEqual({ ...asked, pointId: plan.pointId, from: 'east' });
        const { currentDetails } = await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata');
        expect(currentDetails).toContain('from east');
      },
    );

    test('fails by what the first one lacks when none of them has it any more, and leaves nothing', async () => {
      heldBy('disk', 'east', 'west');
      steps.on('restorePoint', ({ from }) => lost(from));
      const handle = await stage.start('restore', asked);
      expect(await reasonOf(handle)).toMatchObject({
        type: 'ObjectMissing',
        message: `west has no recovery point ${plan.pointId}`,
      });
      expect(inputsOf('restorePoint').map((i) => (i as { from: string }).from)).toEqual(['disk', 'east', 'west']);
      expect(steps.attempts('discardRestore')).toBe(3);
      expect(steps.done.at(-1)).toBe('locatePoint');
      expect(await labelsOf(handle)).toMatchObject({ BackupStatus: 'failed' });
    });

    test('goes nowhere else when a person has named the copy', async () => {
      heldBy('disk', 'east');
      steps.on('restorePoint', ({ from }) => lost(from));
      expect(await reasonOf(await stage.start('restore', { ...asked, from: 'disk' }))).toMatchObject({
        type: 'ObjectMissing',
      });
      expect(steps.done).toEqual(['locatePoint', 'restorePoint', 'discardRestore']);
    });

    test('goes nowhere else while it may have left something', async () => {
      heldBy('disk', 'east');
      steps.on('restorePoint', ({ from }) => lost(from));
      steps.on('discardRestore', () => {
        throw failure('TargetUnusable', 'the folder is read-only', false);
      });
      expect(await reasonOf(await stage.start('restore', asked))).toMatchObject({ type: 'ObjectMissing' });
      expect(steps.attempts('restorePoint')).toBe(1);
    });

    test('looks for the moment anew, for which another copy may begin with another point', async () => {
      const to = { kind: 'latest' } as const;
      steps.on('locatePoint', ({ passOver = [] }) =>
        passOver.length === 0 ? { pointId: 'shop-2', from: 'disk' } : { pointId: 'shop-1', from: 'east' },
      );
      steps.on('restorePoint', ({ pointId, from }) => {
        if (from === 'disk') lost(from);
        return { pointId, from, entries: 7, bytes: 3_000_000, warnings: [] };
      });
      const result: RestoreResult = await (await stage.start('restore', { ...asked, to })).result();
      expect(result).toMatchObject({ pointId: 'shop-1', from: 'east' });
      expect(inputsOf('locatePoint')[1]).toEqual({ ...asked, to, passOver: ['disk'] });
    });
  });

  test('that is cancelled ends once it has tidied up', async () => {
    let tidied = false;
    const begun = new Promise<void>((resolve) => {
      const hang = untilCancelled(resolve);
      steps.on('restorePoint', () =>
        hang().finally(() => {
          tidied = true;
        }),
      );
    });
    const handle = await stage.start('restore', asked);
    await begun;
    await handle.cancel();
    expect((await causes(handle))[0]).toBeInstanceOf(CancelledFailure);
    expect(tidied).toBe(true);
    expect(steps.done.at(-1)).toBe('discardRestore');
    expect(await labelsOf(handle)).toMatchObject({ BackupStatus: 'cancelled' });
  });
});
