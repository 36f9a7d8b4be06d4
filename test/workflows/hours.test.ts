import { setTimeout } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { CancelledFailure } from '@temporalio/common';
import type { BackupResult } from '../../workflows/contracts.ts';
import { stage, steps } from './open-stage.ts';
import { causes, labelsOf, until } from './stage.ts';
import { failure, plan, tellSending, untilCancelled } from './stand-ins.ts';

/** The source's hours: the job finds out at its next look. */
let hours: { areOpen: boolean; closedForMs: number; beginAt: number | null };

const hour = 3_600_000;
const iso = (ms: number) => new Date(ms).toISOString();

beforeEach(() => {
  hours = { areOpen: true, closedForMs: 10 * hour, beginAt: null };
  // The first look at the hours is soon; later on a machine that was too slow for that.
  steps.on('planBackup', async () => {
    const lastMs = 1_000 * 3 ** (steps.attempts('planBackup') - 1);
    return { ...plan, closesAt: iso((await stage.now()) + lastMs) };
  });
  steps.on('lookAtHours', ({ at }) => {
    const now = Date.parse(at);
    if (hours.areOpen) return { isOpen: true, until: iso(now + 1_000) };
    hours.beginAt ??= now + hours.closedForMs;
    if (now < hours.beginAt) return { isOpen: false, until: iso(hours.beginAt) };
    hours = { ...hours, areOpen: true, beginAt: null };
    return { isOpen: true, until: iso(now + 1_000) };
  });
});

const start = () => stage.start('backup', { source: 'shop' });
const has = async (...wanted: string[]) => {
  while (!wanted.every((step) => steps.done.includes(step))) await setTimeout(20);
};
/** Under way until it is told to pause, when the hours are over; `begun` is told first. */
const closing = (begun: () => unknown = () => {}) =>
  untilCancelled(async () => {
    await begun();
    hours.areOpen = false;
  });
const inputsOf = (key: string) => {
  const [step, copy] = key.split(' ');
  return steps.inputs
    .filter((i) => i.step === step && (i.input as { copy?: string } | undefined)?.copy === copy)
    .map((i) => i.input);
};

/** On a machine that is slow, its hours may be over before it has got its first slot: then it plans again. */
const sinceSealing = () => steps.done.slice(steps.done.indexOf('sealPoint'));
/** How often it asked for a slot once more. */
const asked = () => sinceSealing().filter((d) => d === 'requestSlot').length;

/** An upload that pauses when its hours are over, the first so many times, once the other copies stand. */
function pausesUploading(times: number): void {
  const pause = closing(() => has('publishCopy disk', 'publishCopy east'));
  steps.on('uploadCopy west', () => (steps.attempts('uploadCopy west') <= times ? pause() : undefined));
}

describe('a job whose hours are over', () => {
  test('pauses what is being sent, without a slot, and goes on with the same when they begin again', async () => {
    pausesUploading(1);
    const from = await stage.now();
    const result: BackupResult = await (await start()).result();
    expect(result.outcome).toBe('succeeded');
    expect((await stage.now()) - from).toBeGreaterThanOrEqual(10 * hour);
    expect(inputsOf('uploadCopy west')).toEqual([
      { plan: expect.objectContaining({ pointId: plan.pointId }), copy: 'west' },
      { plan: expect.objectContaining({ pointId: plan.pointId }), copy: 'west', again: true },
    ]);
    expect(steps.attempts('uploadCopy east')).toBe(1);
    expect(steps.done.join(' ')).not.toMatch(/withdrawCopy/);
    expect(sinceSealing().filter((d) => /Slot|uploadCopy west/.test(d))).toEqual([
      ...['uploadCopy west', 'releaseSlot', 'requestSlot', 'uploadCopy west', 'releaseSlot'],
    ]);
    const phases = result.phases.map((p) => p.name);
    expect(phases.slice(phases.indexOf('seal'))).toEqual([
      ...['seal', 'validate', 'upload', 'window', 'slot', 'upload', 'record', 'prune'],
    ]);
    const times = new Map(result.phases.map((p) => [p.name, p.durationMs]));
    expect(times.get('window')).toBeGreaterThan(9 * hour);
    // Its time to make the copy is one hour, and the pause is none of it.
    expect(times.get('upload')).toBeLessThan(hour);
  });

  test('comes through any number of pauses; while it seals only the sending pauses, and the slot stays', async () => {
    hours.closedForMs = 1_000;
    const again = Promise.withResolvers<void>();
    steps.on('sealPoint', async ({ level }) => {
      await again.promise;
      return { level, sourceBytes: 1, storedBytes: 1, entries: 1, warnings: [] };
    });
    const pause = closing(async () => {
      await tellSending('west');
      await has('sealPoint');
    });
    steps.on('sendArtifact west', () => {
      if (steps.attempts('sendArtifact west') === 1) return pause();
      again.resolve();
      return { key: 'shop/a', bytes: 7, sha256: 'ab', token: 'west' };
    });
    pausesUploading(2);
    expect(await (await start()).result()).toMatchObject({ outcome: 'succeeded' });
    expect(inputsOf('sendArtifact west')).toMatchObject([{ copy: 'west' }, { copy: 'west', again: true }]);
    expect(inputsOf('uploadCopy west')).toMatchObject([
      { sent: { token: 'west' } },
      { sent: { token: 'west' }, again: true },
      { sent: { token: 'west' }, again: true },
    ]);
    expect(steps.attempts('sealPoint')).toBe(1);
    expect(asked()).toBe(2);
    const turns = inputsOf('requestSlot').map((request) => (request as { turn?: number }).turn ?? 0);
    expect(turns).toEqual(turns.map((_, i) => i));
  });

  test('pauses reading a copy back, and goes on from where that was; what is whole by then counts at once', async () => {
    const from = { object: 'data', bytes: 7, sha256: 'ab' };
    const others = () => has('publishCopy disk', 'publishCopy east');
    steps.on('verifyCopy west', async () => {
      if (steps.attempts('verifyCopy west') > 1) return;
      await closing(others)().catch(() => {
        throw new CancelledFailure('ended', [from]);
      });
    });
    const result: BackupResult = await (await start()).result();
    expect(result.outcome).toBe('succeeded');
    expect(inputsOf('verifyCopy west')).toMatchObject([{ copy: 'west' }, { copy: 'west', from }]);
    expect(inputsOf('verifyCopy west')[0]).not.toHaveProperty('from');
    expect(steps.attempts('publishCopy west')).toBe(1);
    expect(asked()).toBe(1);
  });

  test('does not wait for them to begin when there is nothing more to do', async () => {
    steps.on('uploadCopy west', async () => {
      await has('publishCopy disk', 'publishCopy east');
      throw failure('StoreDenied', 'west refuses', false);
    });
    steps.on('withdrawCopy west', async () => {
      hours.areOpen = false;
      await until(await started, (s) => s.phase === 'window');
      return { published: false };
    });
    const started = start();
    // The clock does not jump while nobody waits for the result.
    await until(await started, (s) => s.phase === 'done');
    expect(steps.end().outcome).toBe('partial');
    expect(asked()).toBe(0);
  });

  test('says until when it is paused; cancelled then, it leaves nothing, and keeps the copies that stand', async () => {
    pausesUploading(1);
    const handle = await start();
    await until(handle, (s) => s.phase === 'window');
    const { pausedUntil, progressLine } = await handle.query<{ pausedUntil: string; progressLine: string }>('status');
    expect(Date.parse(pausedUntil)).toBeGreaterThan((await stage.now()) + 9 * hour);
    expect(progressLine).toContain(`paused until ${pausedUntil}, 2/3 copies verified`);
    expect(await labelsOf(handle)).toMatchObject({ BackupStatus: 'paused' });
    await handle.cancel();
    await causes(handle);
    expect(steps.done.filter((d) => d.startsWith('withdrawCopy'))).toEqual(['withdrawCopy west']);
    expect(steps.attempts('discardStaging')).toBe(1);
    expect(inputsOf('recordPoint')).toMatchObject([
      { copies: [{ state: 'verified' }, { state: 'verified' }, { copy: 'west', state: 'failed', error: 'cancelled' }] },
    ]);
    expect(steps.end()).toMatchObject({ outcome: 'cancelled', leftovers: { staging: false, copies: [] } });
  });

  test('before its turn for a slot gives it back, and plans again when they begin', async () => {
    let plans = 0;
    steps.on('planBackup', async () => {
      plans += 1;
      const now = await stage.now();
      if (plans === 1) return { ...plan, closesAt: iso(now) };
      return plans === 2 ? { ...plan, waitUntil: iso(now + 8 * hour) } : { ...plan, pointId: 'shop-anew' };
    });
    expect(await (await start()).result()).toMatchObject({ outcome: 'succeeded', pointId: 'shop-anew' });
    expect(steps.done.slice(0, 7)).toEqual([
      ...['planBackup', 'requestSlot', 'releaseSlot', 'planBackup', 'planBackup', 'requestSlot'],
      expect.stringMatching(/sealPoint|sendArtifact/),
    ]);
  });

  test('takes a point again as a full one only when they begin: the source is not read outside of them', async () => {
    const broken = { check: 'integrity', passed: false, details: 'read', error: 'block 7', durationMs: 1 } as const;
    steps.on('sealPoint', ({ level }) => ({
      level: steps.attempts('sealPoint') === 1 ? ('incremental' as const) : level,
      ...{ sourceBytes: 1, storedBytes: 1, entries: 1, warnings: [] },
    }));
    const sealedAt: number[] = [];
    steps.on('checkSealed', async () => {
      sealedAt.push(await stage.now());
      if (sealedAt.length > 1) return [];
      hours.areOpen = false;
      await until(await started, (s) => s.pausedUntil !== null);
      return [broken];
    });
    const started = start();
    expect(await (await started).result()).toMatchObject({ outcome: 'succeeded', level: 'full' });
    expect((sealedAt[1] ?? 0) - (sealedAt[0] ?? 0)).toBeGreaterThanOrEqual(9 * hour);
    expect(asked()).toBe(1);
  });
});
