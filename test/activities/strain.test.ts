import { beforeEach, describe, expect, test } from '@jest/globals';
import { walStrainWatch } from '../../activities/strain.ts';
import { type StrainReport, strainLeaseMs } from '../../policies/strain.ts';
import { activityEnvironment } from './environment.ts';

let told: StrainReport[];
let nowMs: number;
let isAway: boolean;
let look: (source: string, waitingBytes: number, slotBytes: number) => Promise<void>;

beforeEach(() => {
  told = [];
  nowMs = 0;
  isAway = false;
  const watch = walStrainWatch(
    async (report) => {
      if (isAway) throw new Error('Temporal is away');
      told.push(report);
    },
    () => nowMs,
  );
  const environment = activityEnvironment();
  look = (...seen) => environment.run(() => watch(...seen));
});

const causes = () => told.map(({ cause, why }) => [cause, why === null ? 'over' : 'strained']);

describe('WAL that does not get away', () => {
  test('is told once when it nears the limit, and once when there is room again', async () => {
    for (const bytes of [10, 79, 80, 90, 60, 49, 79]) await look('shop', bytes, 100);
    expect(causes()).toEqual([
      ['wal/shop', 'strained'],
      ['wal/shop', 'over'],
    ]);
    expect(told[0]?.why).toContain('shop');
  });

  test('is told again in time, so that it does not lapse while somebody sees it', async () => {
    for (; nowMs < 3 * strainLeaseMs; nowMs += 2_000) await look('shop', 90, 100);
    expect(told.length).toBeGreaterThan(6);
    expect(told.length).toBeLessThan(12);
    expect(new Set(causes().map(String))).toEqual(new Set(['wal/shop,strained']));
  });

  test('is told for each source by itself', async () => {
    await look('shop', 90, 100);
    await look('docs', 90, 100);
    await look('shop', 0, 100);
    expect(causes()).toEqual([
      ['wal/shop', 'strained'],
      ['wal/docs', 'strained'],
      ['wal/shop', 'over'],
    ]);
  });

  test('is told at the next look when nobody could be told: archiving goes on meanwhile', async () => {
    isAway = true;
    await look('shop', 90, 100);
    isAway = false;
    await look('shop', 85, 100);
    isAway = true;
    await look('shop', 10, 100);
    isAway = false;
    await look('shop', 10, 100);
    expect(causes()).toEqual([
      ['wal/shop', 'strained'],
      ['wal/shop', 'over'],
    ]);
  });
});
