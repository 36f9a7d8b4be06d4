import { describe, expect, test } from '@jest/globals';
import type { TierPolicy } from '../../policies/tier-policy.ts';
import { tiersPolicy } from '../../policies/tier-policy.ts';
import { ladderOf, planTierMoves, type TieredPoint } from '../../policies/tiers.ts';
import { nightsAgo, storeNow } from './points.ts';
import { seededRandom } from './random.ts';

const tiers = tiersPolicy.parse(undefined);
const ladder = (tier: string, ...moves: string[]) => ladderOf(tiers, { tier, moves: moves.map((to) => ({ to })) });
const all = ladder('hot', 'warm', 'cold', 'archive');

const point = (pointId: string, nights: number, more: Partial<TieredPoint> = {}): TieredPoint => ({
  pointId,
  parent: null,
  classes: ['daily'],
  storedAt: nightsAgo(nights),
  tier: 'hot',
  ...more,
});
const moves = (points: TieredPoint[], on = all) =>
  planTierMoves(on, points, storeNow).map((m) => `${m.pointId}: ${m.from} → ${m.to}`);

describe('the usual tiers', () => {
  test('have the prices and ages of the mission', () => {
    expect(tiers.map((t) => [t.name, t.after, t.dollarsPerGbMonth])).toEqual([
      ['hot', undefined, 0.1],
      ['warm', '7d', 0.05],
      ['cold', '30d', 0.0125],
      ['archive', '90d', 0.004],
    ]);
  });

  test('take points after seven and thirty days, and yearly ones after ninety', () => {
    expect(moves([point('six', 6), point('seven', 7), point('thirty', 30), point('old', 400)])).toEqual([
      'seven: hot → warm',
      'thirty: hot → cold',
      'old: hot → cold',
    ]);
    expect(
      moves([point('y89', 89, { classes: ['yearly', 'daily'] }), point('y90', 90, { classes: ['yearly'] })]),
    ).toEqual(['y89: hot → cold', 'y90: hot → archive']);
  });
});

describe('a copy', () => {
  test('moves points along its own tiers only', () => {
    const points = [point('old', 400, { tier: 'hot' })];
    expect(moves(points, ladder('hot', 'warm'))).toEqual(['old: hot → warm']);
    expect(moves(points, ladder('hot'))).toEqual([]);
    expect(moves([point('yearly', 400, { classes: ['yearly'], tier: 'cold' })], ladder('cold', 'archive'))).toEqual([
      'yearly: cold → archive',
    ]);
  });

  test('moves nothing twice, and nothing back', () => {
    expect(moves([point('there', 10, { tier: 'warm' }), point('further', 10, { tier: 'archive' })])).toEqual([]);
  });

  test('leaves points alone that lie in a tier which is none of its own', () => {
    expect(moves([point('elsewhere', 400, { tier: 'somewhere' })])).toEqual([]);
  });
});

describe('a chain', () => {
  const yearly = { classes: ['yearly' as const], tier: 'cold' };

  test('keeps its full out of the archive as long as something younger needs it', () => {
    const full = point('full', 100, yearly);
    expect(moves([full])).toEqual(['full: cold → archive']);
    expect(moves([full, point('diff', 95, { parent: 'full', tier: 'cold' })])).toEqual([]);
    expect(moves([full, point('diff', 95, { ...yearly, parent: 'full' })])).toEqual([
      'full: cold → archive',
      'diff: cold → archive',
    ]);
  });

  test('is held by its youngest link, through all between', () => {
    const chain = [
      point('a', 300, yearly),
      point('b', 200, { ...yearly, parent: 'a' }),
      point('c', 2, { parent: 'b' }),
    ];
    expect(moves(chain)).toEqual([]);
    expect(moves(chain.slice(0, 2))).toEqual(['a: cold → archive', 'b: cold → archive']);
  });

  test('does not hold its full where that can be read at once', () => {
    expect(moves([point('full', 40), point('diff', 2, { parent: 'full' })])).toEqual(['full: hot → cold']);
  });
});

test('whatever the points, nothing readable needs what is frozen, none moves back, and asking again moves nothing', () => {
  const random = seededRandom(11);
  const step = (tier: string) => all.findIndex((t: TierPolicy) => t.name === tier);
  let frozen = 0;
  for (let run = 0; run < 1_000; run++) {
    const nights = Array.from({ length: 1 + random.below(15) }, () => random.below(200)).sort((a, b) => b - a);
    const points = nights.map((n, i) =>
      point(`p${i}`, n, {
        parent: i > 0 && random.chance(0.5) ? `p${random.below(i)}` : null,
        classes: random.chance(0.6) ? ['yearly'] : ['daily'],
      }),
    );
    const planned = planTierMoves(all, random.shuffle(points), storeNow);
    const after = points.map((p) => ({ ...p, tier: planned.find((m) => m.pointId === p.pointId)?.to ?? p.tier }));
    for (const child of after) {
      const parent = after.find((p) => p.pointId === child.parent);
      if (parent?.tier === 'archive') expect(child.tier).toBe('archive');
    }
    frozen += after.filter((p) => p.tier === 'archive').length;
    expect(planned.every((m) => step(m.to) > step(m.from))).toBe(true);
    expect(planTierMoves(all, after, storeNow)).toEqual([]);
  }
  expect(frozen).toBeGreaterThan(100);
});
