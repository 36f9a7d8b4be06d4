import { describe, expect, test } from '@jest/globals';
import { earlyDollars, monthMs, restoreDollars, restoreSeconds, storageDollars } from '../../policies/cost.ts';
import { type TierPolicy, tiersPolicy } from '../../policies/tier-policy.ts';

const GB = 2 ** 30;
const dayMs = 86_400_000;
const tiers = tiersPolicy.parse(undefined);
const tier = (name: string) => tiers.find((t) => t.name === name) as TierPolicy;

describe('costs', () => {
  test.each([
    ['hot', 0.1],
    ['warm', 0.05],
    ['cold', 0.0125],
    ['archive', 0.004],
  ])('of keeping 100 GB in the %s tier for a month are 100 times its price', (name, price) => {
    expect(storageDollars(tier(name), 100 * GB, monthMs)).toBeCloseTo(100 * price, 10);
    expect(storageDollars(tier(name), 100 * GB, monthMs / 2)).toBeCloseTo(50 * price, 10);
  });

  test('of leaving the archive after ten days are those of the eighty that are missing', () => {
    expect(earlyDollars(tier('archive'), 100 * GB, 10 * dayMs)).toBeCloseTo(
      storageDollars(tier('archive'), 100 * GB, 80 * dayMs),
      10,
    );
    expect(earlyDollars(tier('archive'), 100 * GB, 90 * dayMs)).toBe(0);
    expect(earlyDollars(tier('hot'), 100 * GB, 0)).toBe(0);
  });

  test('of restoring from the cloud are retrieval and nine cents of egress a GB; from a disk, nothing', () => {
    expect(restoreDollars(tier('cold'), 100 * GB)).toEqual({ retrieval: 1, egress: 9 });
    expect(restoreDollars(tier('hot'), 100 * GB)).toEqual({ retrieval: 0, egress: 0 });
  });

  test('in time: a thaw comes on top of the reading', () => {
    expect(restoreSeconds(tier('archive'), 100 * GB, GB)).toBe(5 * 3600 + 100);
    expect(restoreSeconds(tier('hot'), 100 * GB, GB)).toBe(100);
  });
});
