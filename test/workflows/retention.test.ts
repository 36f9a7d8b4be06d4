import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { ExpiryDecision } from '../../activities/expiry.ts';
import type { RetentionInput, RetentionResult } from '../../workflows/contracts.ts';
import { causes, Stage } from './stage.ts';
import { failure, type StandIns, untilCancelled } from './stand-ins.ts';

let stage: Stage;
let steps: StandIns;

beforeAll(async () => {
  stage = await Stage.open();
  steps = stage.standIns;
});
afterAll(() => stage?.close());
beforeEach(() => steps.clear());

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
        refused: [],
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
