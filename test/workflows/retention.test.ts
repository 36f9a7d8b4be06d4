import { describe, expect, test } from '@jest/globals';
import type { ExpiryDecision } from '../../activities/expiry.ts';
import type { RetentionInput, RetentionResult } from '../../workflows/contracts.ts';
import { stage, steps } from './open-stage.ts';
import { causes, reasonOf } from './stage.ts';
import { failure, untilCancelled } from './stand-ins.ts';

const start = (input: RetentionInput = {}) => stage.start('retention', input);
const run = async (input?: RetentionInput): Promise<RetentionResult> => (await start(input)).result();
const inputsOf = (step: string) => steps.inputs.filter((i) => i.step === step).map((i) => i.input);

/** What is decided for a source: nothing goes, unless said otherwise. */
const decided = (source: string, more: Partial<ExpiryDecision> = {}): ExpiryDecision => ({
  source,
  host: 'local',
  stopped: null,
  stays: 7,
  waiting: 0,
  remove: [],
  more: false,
  ...more,
});

describe('a retention run', () => {
  test('removes what was decided, in that order, and tells the catalog what is gone', async () => {
    steps.on('decideExpiry', ({ source }) => decided(source, { remove: ['shop-2', 'shop-1'], waiting: 3 }));
    const { sources } = await run();
    expect(sources).toEqual([
      {
        source: 'shop',
        outcome: 'done',
        stopped: null,
        stays: 7,
        waiting: 3,
        removed: ['shop-2', 'shop-1'],
        moreRemoved: 0,
        refused: [],
        moreRefused: 0,
      },
    ]);
    expect(inputsOf('expirePoints')).toEqual([{ source: 'shop', pointIds: ['shop-2', 'shop-1'] }]);
    const expired = ['shop-2', 'shop-1'].map((pointId) => ({ pointId, gone: ['disk', 'east', 'west'], refused: null }));
    expect(inputsOf('recordExpired')).toEqual([{ source: 'shop', expired }]);
  });

  test('lets the WAL of a cluster go by the mark that is ripe, and says how much has gone', async () => {
    const wal = { from: '0/300', markedAt: '2026-01-01T00:00:00Z' };
    steps.on('decideExpiry', ({ source }) => decided(source, { wal }));
    const { sources } = await run();
    expect(sources[0]).toMatchObject({ outcome: 'done', wal: { removed: 3, bytes: 3_000_000, refused: null } });
    expect(inputsOf('expireWal')).toEqual([{ source: 'shop', mark: wal }]);
    expect(inputsOf('concludeExpiry')).toMatchObject([{ error: null, wal: { removed: 3 } }]);
  });

  test('asks nobody to remove anything where nothing goes', async () => {
    await run();
    expect(steps.done).toEqual(['expirySources', 'decideExpiry', 'concludeExpiry']);
  });

  test('leaves a source alone that was stopped, and says why', async () => {
    steps.on('decideExpiry', ({ source }) => decided(source, { stopped: 'shop-9: it may be encrypted' }));
    const { sources } = await run();
    expect(sources[0]).toMatchObject({ outcome: 'stopped', stopped: 'shop-9: it may be encrypted', removed: [] });
    expect(steps.done).not.toContain('expirePoints');
  });

  test('goes on in parts, and passes over what was refused', async () => {
    const parts = [
      { remove: ['a', 'b'], more: true },
      { remove: ['c'], more: false },
    ];
    steps.on('decideExpiry', ({ source }) => decided(source, parts.shift()));
    steps.on('expirePoints', ({ pointIds }) =>
      pointIds.map((pointId) => ({ pointId, gone: [], refused: pointId === 'a' ? 'it stays: locked' : null })),
    );
    const { sources } = await run();
    expect(sources[0]).toMatchObject({ removed: ['b', 'c'], refused: [{ pointId: 'a', why: 'it stays: locked' }] });
    expect(inputsOf('decideExpiry')).toMatchObject([{ passOver: [] }, { passOver: ['a'] }]);
  });

  test('goes on with the other sources when one fails, then fails with its words', async () => {
    steps.on('expirySources', () => ['photos', 'shop']);
    steps.on('decideExpiry', ({ source }) => decided(source, { remove: [`${source}-1`] }));
    steps.on('expirePoints', ({ source, pointIds }) => {
      if (source === 'photos') throw failure('StoreDenied', 'west does not accept the key.', false);
      return pointIds.map((pointId) => ({ pointId, gone: ['west'], refused: null }));
    });
    const last = (await causes(await start())).findLast((c) => c.type !== undefined);
    expect(last).toMatchObject({ type: 'StoreDenied', message: 'west does not accept the key.' });
    expect(inputsOf('recordExpired')).toMatchObject([{ source: 'shop' }]);
    expect(inputsOf('concludeExpiry')).toEqual([
      { source: 'photos', error: 'west does not accept the key.' },
      { source: 'shop', error: null },
    ]);
  });

  test('of hundreds of sources goes on in new runs, each with a short history, and its result is whole', async () => {
    const names = Array.from({ length: 240 }, (_, i) => `source-${String(i).padStart(3, '0')}`);
    steps.on('expirySources', () => names);
    // Of the last one more goes than goes at once, and than is named.
    const last = names.at(-1) ?? '';
    const old = Array.from({ length: 250 }, (_, i) => `${last}-${i}`);
    steps.on('decideExpiry', ({ source }) => {
      const remove = source === last ? old.splice(0, 100) : [`${source}-1`];
      return decided(source, { remove, more: source === last && old.length > 0 });
    });
    steps.on('expirePoints', ({ pointIds }) =>
      pointIds.map((pointId) => ({ pointId, gone: ['disk'], refused: pointId.endsWith('-7') ? 'it is held' : null })),
    );
    const handle = await start();
    const { sources } = (await handle.result()) as RetentionResult;
    expect(sources.map((s) => s.source)).toEqual(names);
    expect(sources[7]).toMatchObject({ outcome: 'done', stays: 7, removed: ['source-007-1'], refused: [] });
    const ofLast = sources.at(-1);
    expect(ofLast?.removed).toHaveLength(100);
    expect(ofLast).toMatchObject({ moreRemoved: 149, refused: [{ pointId: `${last}-7`, why: 'it is held' }] });
    expect(inputsOf('expirySources')).toHaveLength(1);
    expect(inputsOf('concludeExpiry')).toEqual(names.map((source) => ({ source, error: null })));
    const runs = await stage.eventsByRun(handle);
    expect(runs.length).toBeGreaterThan(1);
    expect(Math.max(...runs)).toBeLessThan(2_100);
    const { currentDetails } = await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata');
    expect(currentDetails).toContain(`- ${last}: 7 stay, 0 wait for their grace to end, 249 removed, 1 refused`);
    expect(currentDetails.length).toBeLessThan(10_000);
  }, 120_000);

  test('fails at the end of its last run with what a source failed of in the first', async () => {
    steps.on('expirySources', () => ['photos', 'shop', 'docs']);
    steps.on('decideExpiry', ({ source }) => {
      if (source === 'photos') throw failure('StoreDenied', 'west does not accept the key.', false);
      return decided(source);
    });
    const handle = await start({ historyBudget: 1 });
    expect(await reasonOf(handle)).toMatchObject({
      type: 'StoreDenied',
      message: 'west does not accept the key.',
      details: [{ next: 'Mend it.' }],
    });
    expect(inputsOf('concludeExpiry')).toHaveLength(3);
    expect(await stage.eventsByRun(handle)).toHaveLength(3);
  });

  test('passes over what was refused in an earlier run, too', async () => {
    const parts = [
      { remove: ['a', 'b'], more: true },
      { remove: ['c'], more: false },
    ];
    steps.on('decideExpiry', ({ source }) => decided(source, parts.shift()));
    steps.on('expirePoints', ({ pointIds }) =>
      pointIds.map((pointId) => ({ pointId, gone: [], refused: pointId === 'a' ? 'it stays: locked' : null })),
    );
    const { sources } = await run({ historyBudget: 1 });
    expect(sources[0]).toMatchObject({ removed: ['b', 'c'], refused: [{ pointId: 'a', why: 'it stays: locked' }] });
    expect(inputsOf('decideExpiry')).toMatchObject([{ passOver: [] }, { passOver: ['a'] }]);
  });

  test('tries again when the worker that removes had no luck', async () => {
    steps.on('decideExpiry', ({ source }) => decided(source, { remove: ['shop-1'] }));
    steps.on('expirePoints', ({ pointIds }) => {
      if (steps.attempts('expirePoints') < 3) throw failure('StoreUnreachable', 'west does not answer.', true);
      return pointIds.map((pointId) => ({ pointId, gone: ['west'], refused: null }));
    });
    expect((await run()).sources[0]?.removed).toEqual(['shop-1']);
  });

  test('ends as cancelled when it is cancelled while it removes', async () => {
    steps.on('decideExpiry', ({ source }) => decided(source, { remove: ['shop-1'] }));
    const handle = await start();
    steps.on(
      'expirePoints',
      untilCancelled(() => handle.cancel()),
    );
    expect((await causes(handle))[0]?.message).toMatch(/cancel/i);
    expect(steps.done).not.toContain('recordExpired');
  });

  test('says who has it removed: a person with the reason, or the schedule', async () => {
    await run({ source: 'shop', operator: 'Ada', reason: 'the disk is full' });
    await run();
    expect(inputsOf('decideExpiry')).toMatchObject([{ by: 'Ada: the disk is full' }, { by: 'the schedule' }]);
  });

  test.each([
    ['a person without a reason', { operator: 'Ada' }, /go together/],
    ['a misspelt key', { sorce: 'shop' }, /sorce/],
    ['a number for a name', { source: 7 }, /source/],
  ])('refuses %s at once', async (_, input, named) => {
    const [cause] = await causes(await start(input as RetentionInput));
    expect(cause).toMatchObject({ type: 'UsageInvalid', message: expect.stringMatching(named) });
    expect(steps.done).toEqual([]);
  });
});
