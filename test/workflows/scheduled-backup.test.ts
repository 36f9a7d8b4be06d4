import { describe, expect, test } from '@jest/globals';
import type { Due } from '../../policies/calendar.ts';
import type { ScheduledBackupResult } from '../../workflows/contracts.ts';
import { stage, steps } from './open-stage.ts';
import { causes, reasonOf } from './stage.ts';
import { failure, plan, untilSent } from './stand-ins.ts';

const start = (input: unknown = { source: 'shop' }) => stage.start('scheduledBackup', input);
const sunday: Due = { at: '2026-11-29T03:00:00.000Z', classes: ['weekly', 'daily'], level: 'differential' };
const monday: Due = { at: '2026-11-30T02:00:00.000Z', classes: ['daily'], level: 'incremental' };

describe('a schedule that wakes', () => {
  test('makes one backup of the highest level for everything that is due', async () => {
    steps.on('decideBackup', () => ({
      backup: { classes: ['weekly', 'daily'], level: 'differential' },
      due: [sunday, monday],
      lapsed: [],
    }));
    steps.on('planBackup', (asked) => {
      expect(asked).toEqual({ source: 'shop', level: 'differential', classes: ['weekly', 'daily'], anytime: false });
      return plan;
    });
    const result: ScheduledBackupResult = await (await start()).result();
    expect(result).toMatchObject({ due: [sunday, monday], backup: { pointId: plan.pointId, outcome: 'succeeded' } });
    expect(steps.attempts('sealPoint')).toBe(1);
  });

  test('ends at once where nothing is due', async () => {
    expect(await (await start()).result()).toEqual({ source: 'shop', due: [], lapsed: [], backup: null });
    expect(steps.done).toEqual(['decideBackup']);
  });

  test('says what was missed for too long', async () => {
    steps.on('decideBackup', () => ({ backup: null, due: [], lapsed: [sunday] }));
    const result: ScheduledBackupResult = await (await start()).result();
    expect(result.lapsed).toEqual([sunday]);
    expect(stage.logged.some((l) => l.level === 'WARN' && l.meta?.at === sunday.at)).toBe(true);
  });

  test('fails as its backup does, with the same words', async () => {
    steps.on('decideBackup', () => ({ backup: { classes: ['daily'], level: 'full' }, due: [monday], lapsed: [] }));
    steps.on('sealPoint', async () => {
      await untilSent();
      throw failure('SourceAuthentication', 'shop does not accept the password.', false);
    });
    const last = await reasonOf(await start());
    expect(last).toMatchObject({ type: 'SourceAuthentication', message: 'shop does not accept the password.' });
  });

  test.each([
    ['nothing', undefined, /source/],
    ['a misspelt key', { source: 'shop', ahaed: true }, /ahaed/],
  ])('refuses %s at once', async (_, input, named) => {
    const [cause] = await causes(await start(input === undefined ? {} : input));
    expect(cause).toMatchObject({ type: 'UsageInvalid', message: expect.stringMatching(named) });
    expect(steps.done).toEqual([]);
  });
});
