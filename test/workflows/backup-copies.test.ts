import { describe, expect, test } from '@jest/globals';
import type { BackupResult } from '../../workflows/contracts.ts';
import { expectNothingLeft } from './expectations.ts';
import { stage, steps } from './open-stage.ts';
import { type Failed, reasonOf } from './stage.ts';
import { failure, plan, tellSending, untilCancelled, untilSent } from './stand-ins.ts';

const start = () => stage.start('backup', { source: 'shop' });
const backUp = async (): Promise<BackupResult> => (await start()).result();
const failedOf = async (): Promise<Failed> => reasonOf(await start());

describe('a copy', () => {
  test('is sent while the point is being sealed, and made visible with what was sent', async () => {
    const sent = { key: 'shop/a', bytes: 7, sha256: 'ab', token: 'west' };
    const begun = Promise.withResolvers<void>();
    const sealed = Promise.withResolvers<void>();
    steps.on('sealPoint', async () => {
      await begun.promise;
      sealed.resolve();
      return { level: 'full', sourceBytes: 1, storedBytes: 1, entries: 1, warnings: [] };
    });
    steps.on('sendArtifact west', async () => {
      begun.resolve();
      await sealed.promise;
      return sent;
    });
    expect((await backUp()).outcome).toBe('succeeded');
    const uploads = steps.inputs.filter((i) => i.step === 'uploadCopy').map((i) => i.input);
    expect(uploads).toContainEqual({ plan, copy: 'west', sent });
    expect(uploads).toContainEqual({ plan, copy: 'east' });
  });

  test('has its deadline for what comes after sealing and validating, however long these take', async () => {
    steps.on('planBackup', () => ({ ...plan, copies: plan.copies.map((c) => ({ ...c, deadlineMs: 10_000 })) }));
    const over = (await stage.now()) + 100_000;
    const untilThen = async () => {
      if ((await stage.now()) < over) throw failure('SourceUnreachable', 'not yet', true);
    };
    steps.on('testRestore', () =>
      untilThen().then(() => [{ check: 'content' as const, passed: true, details: 'fine', durationMs: 1 }]),
    );
    steps.on('sendArtifact', () => untilThen().then(() => null));
    expect((await backUp()).outcome).toBe('succeeded');
  });
});

describe('a copy that fails', () => {
  test('is withdrawn and named; the others stand, and the catalog knows of each', async () => {
    steps.on('verifyCopy west', () => {
      throw failure('Corrupt', 'west: other bytes came back', false);
    });
    const result = await backUp();
    expect(result).toMatchObject({
      outcome: 'partial',
      copies: [
        { copy: 'disk', state: 'verified', error: null },
        { copy: 'east', state: 'verified', error: null },
        { copy: 'west', state: 'failed', error: 'west: other bytes came back' },
      ],
    });
    expect(steps.done).toContain('withdrawCopy west');
    expect(steps.done).not.toContain('publishCopy west');
    expect(steps.done.filter((d) => d.startsWith('withdrawCopy'))).toHaveLength(1);
    expect(steps.inputs.find((i) => i.step === 'recordPoint')?.input).toMatchObject({ copies: result.copies });
    expect(steps.end()).toMatchObject({ outcome: 'partial', leftovers: { staging: false, copies: [] } });
  });

  test('counts when only the answer to its publishing was lost', async () => {
    steps.on('publishCopy west', () => {
      throw failure('Corrupt', 'no answer', false);
    });
    steps.on('withdrawCopy west', () => ({ published: true }));
    expect(await backUp()).toMatchObject({
      outcome: 'succeeded',
      copies: [{}, {}, { state: 'verified', error: null }],
    });
  });

  test('stops at its deadline: it is cancelled, and withdrawn only once it has come to rest', async () => {
    const order: string[] = [];
    steps.on('planBackup', () => ({
      ...plan,
      copies: plan.copies.map((c) => (c.name === 'west' ? { ...c, deadlineMs: 1_000 } : c)),
    }));
    const hang = untilCancelled(() => {});
    steps.on('uploadCopy west', () => hang().finally(() => order.push('upload at rest')));
    steps.on('withdrawCopy west', () => {
      order.push('withdrawn');
      return { published: false };
    });
    const result = await backUp();
    expect(order).toEqual(['upload at rest', 'withdrawn']);
    expect(result.copies.at(-1)).toEqual({
      copy: 'west',
      state: 'failed',
      error: 'The copy west was not done within its 1.0 s.',
    });
  });

  test('stops at its deadline also while it is sent, and is withdrawn only once that has come to rest', async () => {
    const order: string[] = [];
    steps.on('planBackup', () => ({
      ...plan,
      copies: plan.copies.map((c) => (c.name === 'west' ? { ...c, deadlineMs: 1_000 } : c)),
    }));
    const hang = untilCancelled(() => {});
    steps.on('sendArtifact west', () => hang().finally(() => order.push('sending at rest')));
    steps.on('withdrawCopy west', () => {
      order.push('withdrawn');
      return { published: false };
    });
    const result = await backUp();
    expect(order).toEqual(['sending at rest', 'withdrawn']);
    expect(steps.done).not.toContain('uploadCopy west');
    expect(result.copies.map((c) => c.state)).toEqual(['verified', 'verified', 'failed']);
  });

  test('to be sent ahead has not failed yet: it is sent with the rest, once it is sealed', async () => {
    steps.on('sendArtifact', () => {
      throw failure('StoreDenied', 'not now', false);
    });
    steps.on('uploadCopy west', () => {
      throw failure('StoreDenied', 'west refuses', false);
    });
    const result = await backUp();
    expect(result.copies).toEqual([
      { copy: 'disk', state: 'verified', error: null },
      { copy: 'east', state: 'verified', error: null },
      { copy: 'west', state: 'failed', error: 'west refuses' },
    ]);
    expect(steps.done.filter((d) => d.startsWith('withdrawCopy'))).toEqual(['withdrawCopy west']);
  });

  test('is tried again while trying can help, and not once when it cannot', async () => {
    let failures = 3;
    steps.on('uploadCopy east', () => {
      if (failures-- > 0) throw failure('StoreUnreachable', 'east is away', true);
    });
    steps.on('uploadCopy west', () => {
      throw failure('StoreDenied', 'west refuses', false);
    });
    const result = await backUp();
    expect(result.copies.map((c) => c.state)).toEqual(['verified', 'verified', 'failed']);
    expect(steps.attempts('uploadCopy east')).toBe(4);
    expect(steps.attempts('uploadCopy west')).toBe(1);
  });

  test('fails the job when none is left: nothing is recorded, all is withdrawn', async () => {
    steps.on('publishCopy', () => {
      throw failure('BucketMissing', 'no bucket', false);
    });
    const cause = await failedOf();
    expect(cause.type).toBe('StoreUnreachable');
    for (const copy of ['disk', 'east', 'west']) {
      expect(cause.message).toContain(`${copy}: no bucket`);
      expect(steps.done).toContain(`withdrawCopy ${copy}`);
    }
    expectNothingLeft(steps);
  });
});

describe('a backup that fails', () => {
  test.each(['sealPoint', 'checkSealed', 'testRestore'] as const)(
    'in %s takes back what is being sent: it comes to rest, and goes before what is staged',
    async (step) => {
      const order: string[] = [];
      const begun = Promise.withResolvers<void>();
      const hang = untilCancelled(() => tellSending('west').then(begun.resolve));
      steps.on('sendArtifact west', () => hang().finally(() => order.push('sending at rest')));
      const waiting = Promise.withResolvers<void>();
      steps.on('sendArtifact east', untilCancelled(waiting.resolve));
      steps.on(step, async () => {
        await Promise.all([begun.promise, waiting.promise]);
        await untilSent({ but: 2 });
        throw failure('SourceUnreadable', 'no right', false);
      });
      steps.on('withdrawCopy west', () => {
        order.push('withdrawn');
        return { published: false };
      });
      steps.on('discardStaging', () => void order.push('discarded'));
      expect(await failedOf()).toMatchObject({ type: 'SourceUnreadable', message: 'no right' });
      expect(order).toEqual(['sending at rest', 'withdrawn', 'discarded']);
      expectNothingLeft(steps);
      // Of the others nothing was sent, which is not asked of their stores: they may be away.
      expect(steps.attempts('withdrawCopy west')).toBe(1);
      for (const copy of ['disk', 'east']) expect(steps.attempts(`withdrawCopy ${copy}`)).toBe(0);
    },
  );

  test('in validation takes back what was sent whole, and what came to no end', async () => {
    steps.on('sendArtifact east', async () => {
      await tellSending('east');
      return { key: 'shop/a', bytes: 7, sha256: 'ab', token: 'east' };
    });
    steps.on('sendArtifact west', async () => {
      await tellSending('west');
      throw failure('StoreDenied', 'west refuses', false);
    });
    steps.on('checkSealed', async () => {
      await untilSent();
      throw failure('Corrupt', 'block 7', false);
    });
    expect(await failedOf()).toMatchObject({ type: 'Corrupt' });
    expect(steps.done.filter((d) => d.startsWith('withdrawCopy')).sort()).toEqual([
      'withdrawCopy east',
      'withdrawCopy west',
    ]);
    expectNothingLeft(steps);
  });
});
