import { describe, expect, test } from '@jest/globals';
import type { BackupResult, BackupStatus } from '../../workflows/contracts.ts';
import { expectNothingLeft } from './expectations.ts';
import { stage, steps } from './open-stage.ts';
import { causes, type Failed, labelsOf, reasonOf } from './stage.ts';
import { failure, plan, tellSending, untilSent } from './stand-ins.ts';

const start = (input: unknown = { source: 'shop' }) => stage.start('backup', input);
const backUp = async (): Promise<BackupResult> => (await start()).result();

const cleanupOf = (pointId: string) => stage.client.workflow.getHandle(`cleanup/${pointId}`);

const failedOf = async (): Promise<Failed> => reasonOf(await start());

describe('a backup', () => {
  test('goes through its phases in order, and publishes nothing before it is validated', async () => {
    const result = await backUp();
    const branches = steps.done.filter((d) => / /.test(d));
    expect(steps.done.filter((d) => !/ /.test(d))).toEqual([
      ...['planBackup', 'requestSlot', 'sealPoint', 'checkSealed', 'testRestore', 'signPoint'],
      ...['discardStaging', 'releaseSlot', 'recordPoint', 'planPrune', 'announceJob', 'concludeJob'],
    ]);
    for (const copy of ['disk', 'east', 'west']) {
      expect(branches.filter((d) => d.endsWith(` ${copy}`))).toEqual([
        `sendArtifact ${copy}`,
        `uploadCopy ${copy}`,
        `verifyCopy ${copy}`,
        `publishCopy ${copy}`,
      ]);
    }
    const visible = branches.find((d) => !d.startsWith('sendArtifact')) ?? '';
    expect(steps.done.indexOf('signPoint')).toBeLessThan(steps.done.indexOf(visible));
    expect(result).toMatchObject({ pointId: plan.pointId, outcome: 'succeeded', checksPassed: 5, warnings: [] });
    expect(result.phases.map((p) => p.name)).toEqual([
      ...['plan', 'slot', 'seal', 'validate', 'upload', 'record', 'prune'],
    ]);
    expect(steps.end()).toMatchObject({
      outcome: 'succeeded',
      error: null,
      unreached: [],
      result: { outcome: 'succeeded' },
    });
  });

  test('waits for the hours of its source without a slot, and then plans again', async () => {
    const opens = Date.now() + 10 * 3_600_000;
    let plans = 0;
    steps.on('planBackup', () => (++plans === 1 ? { ...plan, waitUntil: new Date(opens).toISOString() } : plan));
    const result = await backUp();
    expect(steps.done.slice(0, 3)).toEqual(['planBackup', 'planBackup', 'requestSlot']);
    expect(result.phases.map((p) => p.name).slice(0, 3)).toEqual(['plan', 'window', 'plan']);
  });

  test('carries the level and the classes that were asked for into the plan, and the planned level into the record', async () => {
    steps.on('planBackup', (asked) => {
      expect(asked).toEqual({ source: 'shop', level: 'incremental', classes: ['daily'], anytime: false });
      return { ...plan, level: 'differential' };
    });
    await (await start({ source: 'shop', level: 'incremental', classes: ['daily'] })).result();
    expect(steps.end().level).toBe('differential');
  });

  test('names the level that the host made of it, which had nothing to compare with', async () => {
    const why = 'This is a full backup, though incremental was asked for: this host has kept nothing.';
    steps.on('planBackup', () => ({
      ...plan,
      level: 'incremental',
      parent: { pointId: 'old', manifest: '', from: 'disk' },
    }));
    steps.on('sealPoint', () => ({ level: 'full', sourceBytes: 1, storedBytes: 1, entries: 1, warnings: [why] }));
    const result = await backUp();
    expect(result).toMatchObject({ level: 'full', warnings: [why] });
    expect(steps.end().level).toBe('full');
  });

  test('takes a point again as a full one when one that is built upon others does not pass, and says why', async () => {
    const levels: string[] = [];
    steps.on('planBackup', () => ({
      ...plan,
      level: 'incremental',
      parent: { pointId: 'old', manifest: '', from: 'disk' },
    }));
    steps.on('sealPoint', ({ level, parent }) => {
      levels.push(`${level} ${parent?.pointId}`);
      return { level, sourceBytes: 1, storedBytes: 1, entries: 1, warnings: [] };
    });
    steps.on('sendArtifact', async ({ copy }) => {
      await tellSending(copy);
      return { key: 'artifact', bytes: 1, sha256: '', token: 'upload' };
    });
    steps.on('testRestore', () => [
      levels.length === 1
        ? { check: 'restore_test', passed: false, details: '', error: 'a page is missing', durationMs: 1 }
        : { check: 'restore_test', passed: true, details: 'fine', durationMs: 1 },
    ]);
    const result = await backUp();
    expect(levels).toEqual(['incremental old', 'full undefined']);
    expect(steps.done.filter((d) => !d.includes(' ')).slice(2, 9)).toEqual([
      ...['sealPoint', 'checkSealed', 'testRestore', 'discardStaging'],
      ...['sealPoint', 'checkSealed', 'testRestore'],
    ]);
    // What was sent of the first is taken back before the second is sent.
    const atEast = steps.done.filter((d) => d.endsWith(' east'));
    expect(atEast.slice(0, 3)).toEqual(['sendArtifact east', 'withdrawCopy east', 'sendArtifact east']);
    expect(result).toMatchObject({ level: 'full', outcome: 'succeeded' });
    expect(result.warnings).toEqual([expect.stringMatching(/full backup, though incremental .*a page is missing/)]);
  });

  test('has the host keep what the next one can be compared with, once it is published', async () => {
    const published = () => steps.inputs.flatMap((i) => (i.step === 'discardStaging' ? [i.input] : []));
    await backUp();
    expect(published()).toEqual([{ source: plan.source, pointId: plan.pointId, published: true }]);
    steps.clear();
    steps.on('testRestore', async () => {
      await untilSent();
      return [{ check: 'content', passed: false, details: '', error: 'bad', durationMs: 1 }];
    });
    await expect(backUp()).rejects.toThrow();
    expect(published()).toEqual([{ source: plan.source, pointId: plan.pointId, published: false }]);
  });

  test.each([
    ['nothing', undefined, /source/],
    ['no source', {}, /source/],
    ['a level that there is not', { source: 'shop', level: 'hourly' }, /level/],
    ['classes that are no list', { source: 'shop', classes: 'daily' }, /classes/],
    ['a misspelt key', { source: 'shop', levle: 'full' }, /levle/],
  ])('refuses %s at once, and says how to give it', async (_, input, named) => {
    const [cause] = await causes(await stage.start('backup', input));
    expect(cause).toMatchObject({ type: 'UsageInvalid', message: expect.stringMatching(named) });
    expect(cause?.details).toEqual([{ next: expect.stringContaining('"source"') }]);
    expect(steps.done).toEqual([]);
  });

  test('shows its progress line, says each phase in the log, and answers status from first to last', async () => {
    let during: BackupStatus | null = null;
    const handle = await start();
    steps.on('uploadCopy west', async () => {
      during = await handle.query<BackupStatus>('status');
    });
    await handle.result();
    expect(during).toMatchObject({ phase: 'upload', source: 'shop', pointId: plan.pointId, queuePosition: null });
    expect(await handle.query<BackupStatus>('status')).toMatchObject({
      phase: 'done',
      progressLine: '💾 Backed Up: 2.86 MiB | ✅ Validated: 5 | 🔄 Replicating: 3/3 copies verified',
    });
    const said = stage.logged.filter((l) => l.meta?.workflowId === handle.workflowId && l.message.startsWith('💾'));
    expect(said.map((l) => l.meta?.phase)).toEqual([
      ...['plan', 'slot', 'seal', 'validate', 'upload', 'record', 'prune', 'notify', 'done'],
    ]);
    expect(await labelsOf(handle)).toMatchObject({
      BackupSource: 'shop',
      BackupLevel: 'full',
      BackupClass: ['manual'],
      BackupStatus: 'succeeded',
    });
    const metadata = await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata');
    expect(metadata.currentDetails).toContain('💾 Backed Up: 2.86 MiB');
  });
});

describe('a backup that fails', () => {
  test('in validation uploads nothing, discards what was staged, releases its slot, and tells people', async () => {
    steps.on('checkSealed', async () => {
      await untilSent();
      return [
        { check: 'integrity', passed: false, details: 'read', error: 'block 7 is not what was sealed', durationMs: 1 },
      ];
    });
    const cause = await failedOf();
    expect(cause).toMatchObject({ type: 'ValidationFailed', details: [{ next: expect.stringContaining('Nothing') }] });
    expect(cause.message).toContain('integrity: block 7 is not what was sealed');
    expect(steps.done.join(' ')).not.toMatch(/upload|publish|sign/);
    expectNothingLeft(steps);
    expect(steps.end()).toMatchObject({ outcome: 'failed', result: null, error: cause.message });
    expect(steps.done.slice(-2)).toEqual(['announceJob', 'concludeJob']);
  });

  test.each([
    ['the source cannot be read', 'sealPoint', 'SourceAuthentication'],
    ['the test restore took too long', 'testRestore', 'ValidationTimedOut'],
    ['the source is not known', 'planBackup', 'SourceUnknown'],
  ] as const)('because %s is not tried again, and says what to do next', async (_, step, type) => {
    steps.on(step, async () => {
      if (step !== 'planBackup') await untilSent();
      throw failure(type, 'so it is', false);
    });
    expect(await failedOf()).toMatchObject({ type, message: 'so it is', details: [{ next: 'Mend it.' }] });
    expect(steps.attempts(step)).toBe(1);
    expect(steps.end()).toMatchObject({ outcome: 'failed', error: 'so it is' });
    if (step !== 'planBackup') expectNothingLeft(steps);
  });

  test('of a passing trouble is tried again, eight times at most where each attempt begins afresh', async () => {
    let troubles = 2;
    steps.on('sealPoint', async () => {
      await untilSent();
      if (troubles-- > 0) throw failure('SourceUnreachable', 'no answer', true);
      return { level: 'full', sourceBytes: 1, storedBytes: 1, entries: 1, warnings: [] };
    });
    await backUp();
    expect(steps.attempts('sealPoint')).toBe(3);
    steps.clear();
    steps.on('sealPoint', async () => {
      await untilSent();
      throw failure('SourceUnreachable', 'no answer', true);
    });
    expect((await failedOf()).type).toBe('SourceUnreachable');
    expect(steps.attempts('sealPoint')).toBe(8);
    expectNothingLeft(steps);
  });
});

describe('the end of a backup', () => {
  test('is told to people once, also when the catalog takes hours to come back', async () => {
    const back = (await stage.now()) + 2 * 3_600_000;
    steps.on('concludeJob', async () => {
      if ((await stage.now()) < back) throw failure('CatalogUnreachable', 'no catalog', true);
    });
    expect((await backUp()).outcome).toBe('succeeded');
    expect(steps.attempts('concludeJob')).toBeGreaterThan(100);
    expect(steps.attempts('announceJob')).toBe(1);
  });

  test('does not turn a success into a failure when it cannot be written down', async () => {
    steps.on('concludeJob', () => {
      throw failure('CatalogDiffers', 'another schema', false);
    });
    const result = await backUp();
    expect(result.outcome).toBe('succeeded');
    expect(result.warnings).toEqual([expect.stringContaining('another schema')]);
    expect(steps.attempts('concludeJob')).toBe(1);
  });

  test('names those who could not be told', async () => {
    steps.on('announceJob', () => ['The webhook at hooks.example did not take the message (HTTP 500).']);
    await backUp();
    expect(steps.end().unreached).toEqual(['The webhook at hooks.example did not take the message (HTTP 500).']);
  });

  test('prunes five old copies at most, and records those that are gone though one could not go', async () => {
    const old = Array.from({ length: 12 }, (_, i) => ({
      pointId: `old-${i}`,
      parent: null,
      copy: 'disk',
      others: ['east', 'west'],
    }));
    steps.on('planPrune', () => old);
    await backUp();
    expect(steps.attempts('pruneCopy disk')).toBe(5);
    steps.clear();
    steps.on('planPrune', () => old.slice(0, 3));
    steps.on('pruneCopy', ({ pointId }) => {
      if (pointId === 'old-1') throw failure('ChecksumMismatch', 'east holds another', false);
    });
    const result = await backUp();
    expect(result).toMatchObject({ outcome: 'succeeded', warnings: [expect.stringContaining('east holds another')] });
    expect(steps.inputs.find((i) => i.step === 'recordPruned')?.input).toMatchObject({
      pruned: [{ pointId: 'old-0' }, { pointId: 'old-2' }],
    });
  });

  test('leaves what an old copy needs that could not be pruned', async () => {
    const step = (pointId: string, parent: string | null) => ({ pointId, parent, copy: 'disk', others: ['east'] });
    steps.on('planPrune', () => [step('c', 'b'), step('other', null), step('b', 'a'), step('a', null)]);
    steps.on('pruneCopy', ({ pointId }) => {
      if (pointId === 'c') throw failure('ChecksumMismatch', 'east holds another', false);
    });
    await backUp();
    expect(
      steps.inputs.flatMap((i) => (i.step === 'pruneCopy' ? [(i.input as { pointId: string }).pointId] : [])),
    ).toEqual(['c', 'other']);
  });
});

// From here on the clock of the test server may no longer jump: it does not after a child that outlived its parent.
describe('what cannot be removed', () => {
  test('because a store and the host are away is told, and removed when they are back, however late', async () => {
    const pointId = 'shop-left';
    steps.on('planBackup', () => ({ ...plan, pointId }));
    const back = (await stage.now()) + 86_400_000;
    const away = async () => {
      if ((await stage.now()) < back) throw failure('StoreUnreachable', 'away', true);
    };
    steps.on('uploadCopy west', () => {
      throw failure('StoreDenied', 'west refuses', false);
    });
    steps.on('withdrawCopy west', () => away().then(() => ({ published: false })));
    steps.on('discardStaging', away);
    const result = await backUp();
    expect(result.copies.at(-1)?.error).toContain('could not be removed yet: away');
    expect(steps.end().leftovers).toEqual({ staging: true, copies: ['west'] });
    expect(steps.done).not.toContain('resolveLeftovers');
    await cleanupOf(pointId).result();
    expect(steps.done.at(-1)).toBe('resolveLeftovers');
    expect(steps.inputs.at(-1)?.input).toEqual({ pointId });
  });

  test('keeps the first reason of a failure, whatever fails after it', async () => {
    steps.on('sealPoint', async () => {
      await untilSent();
      throw failure('SourceMissing', 'no such folder', false);
    });
    for (const step of ['discardStaging', 'releaseSlot', 'announceJob', 'concludeJob'] as const) {
      steps.on(step, () => {
        throw failure('SecretMissing', 'and this too', false);
      });
    }
    expect(await failedOf()).toMatchObject({ type: 'SourceMissing', message: 'no such folder' });
    // What it left could not be removed later either: that says so.
    const [, cause] = await causes(cleanupOf(plan.pointId));
    expect(cause).toMatchObject({ type: 'SecretMissing', message: 'and this too' });
  });
});
