import { describe, expect, test } from '@jest/globals';
import { mayExpireWal, type WalPoint, walNeed } from '../../policies/wal-retention.ts';
import { nightsAgo, storeNow } from './points.ts';
import { seededRandom } from './random.ts';

const dayMs = 86_400_000;
const lsn = (n: number) =>
  `${Math.floor(n / 2 ** 32)
    .toString(16)
    .toUpperCase()}/${(n % 2 ** 32).toString(16).toUpperCase()}`;

/** A point so many nights old. A night writes 1000 bytes of WAL, and making a point takes 10 of them. */
const point = (nights: number, parent: number | null = null): WalPoint => ({
  pointId: `n${nights}`,
  parent: parent === null ? null : `n${parent}`,
  storedAt: nightsAgo(nights),
  walStart: lsn(100_000 - nights * 1000),
  walStop: lsn(100_010 - nights * 1000),
});
const needOf = (points: WalPoint[], windowDays = 7) => walNeed(points, { storeNow, windowMs: windowDays * dayMs });

describe('the WAL that is needed', () => {
  test('begins where the point does that was the newest when the window began', () => {
    expect(needOf([point(0), point(5), point(9), point(20)]).from).toBe(lsn(91_000));
  });

  test('begins with the oldest point when the window reaches further back', () => {
    expect(needOf([point(0), point(5)]).from).toBe(lsn(95_000));
  });

  test('begins with the full of a chain, so that any of its links can be the base', () => {
    expect(needOf([point(0), point(8, 15), point(15)]).from).toBe(lsn(85_000));
  });

  test('is that of each older point by itself, not all since', () => {
    const need = needOf([point(0), point(8), point(40)]);
    expect(mayExpireWal(need, { start: lsn(60_005), end: lsn(60_500) })).toBe(false);
    expect(mayExpireWal(need, { start: lsn(60_500), end: lsn(91_999) })).toBe(true);
    expect(mayExpireWal(need, { start: lsn(91_999), end: lsn(92_001) })).toBe(false);
    expect(need.ranges).toHaveLength(3);
  });

  test('is nothing where there is no point', () => {
    expect(needOf([])).toEqual({ from: null, ranges: [] });
    expect(mayExpireWal(needOf([]), { start: '0/0', end: '0/1000000' })).toBe(true);
  });

  test('reaches back to a timeline that began earlier, after a restore', () => {
    const restored = { ...point(2), pointId: 'restored', walStart: lsn(60_000), walStop: lsn(60_010) };
    expect(needOf([point(0), restored, point(8)]).from).toBe(lsn(60_000));
  });

  test('compares positions as numbers, across the halves', () => {
    const need = { from: 'A/0', ranges: [] };
    expect(mayExpireWal(need, { start: '9/FF000000', end: 'A/0' })).toBe(true);
    expect(mayExpireWal(need, { start: '9/FF000000', end: 'A/1' })).toBe(false);
    expect(mayExpireWal(need, { start: '10/0', end: '10/1000000' })).toBe(false);
  });
});

test('whatever is kept, every moment of the window can be replayed, and so can every point', () => {
  const random = seededRandom(3);
  for (let run = 0; run < 400; run++) {
    const nights = [...new Set(Array.from({ length: 1 + random.below(12) }, () => random.below(60)))].sort(
      (a, b) => b - a,
    );
    const points = nights.map((n, i) => point(n, i > 0 && random.chance(0.6) ? (nights[i - 1] ?? null) : null));
    const need = needOf(random.shuffle(points), 1 + random.below(40));
    const lost = (from: number, to: number) => mayExpireWal(need, { start: lsn(from), end: lsn(to) });
    for (const n of nights) {
      const at = 100_000 - n * 1000;
      expect(lost(at, at + 10)).toBe(false);
    }
    const from = Number.parseInt(need.from?.split('/')[1] ?? '', 16);
    // Of all that lies after it nothing may go, and before it nothing but what some point needs stays.
    expect([1, 5_000, 30_000].some((more) => lost(from + more, from + more + 100))).toBe(false);
    expect(points.some((p) => p.walStart === need.from)).toBe(true);
  }
});
