import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { findAnomalies, type PointFacts } from '../../policies/anomaly.ts';
import { nightsAgo } from './points.ts';
import { seededRandom } from './random.ts';

const GiB = 1024 ** 3;

/** Points of one source, oldest first: `p0`, `p1`, … all alike but for what is given. */
function historyOf(...points: Partial<PointFacts>[]): PointFacts[] {
  return points.map((more, i) => ({
    pointId: `p${i}`,
    level: 'full',
    storedAt: nightsAgo(points.length - i),
    sourceBytes: 10 * GiB,
    storedBytes: 4 * GiB,
    entries: 60_000,
    ...more,
  }));
}
const usual = (count: number): Partial<PointFacts>[] => Array(count).fill({});
const flagged = (points: PointFacts[], decided: string[] = []) => findAnomalies(points, decided).map((a) => a.pointId);

describe('a sudden change', () => {
  test.each<[string, Partial<PointFacts>, RegExp]>([
    [
      'an emptied source',
      { sourceBytes: 0.1 * GiB, storedBytes: 0.04 * GiB },
      /source size 102 MiB, usually 10\.0 GiB/,
    ],
    ['a source three times as large', { sourceBytes: 30 * GiB, storedBytes: 12 * GiB }, /source size 30\.0 GiB/],
    ['most files gone', { entries: 9_000 }, /9000 entries, usually 60000/],
    ['a million new files', { entries: 1_060_000 }, /1060000 entries/],
    [
      'what compressed and does not any more',
      { storedBytes: 9.9 * GiB },
      /compresses to 99 %, usually to 40 %: it may be encrypted/,
    ],
  ])('is noticed: %s', (_what, point, words) => {
    const found = findAnomalies(historyOf(...usual(5), point));
    expect(found.map((a) => a.pointId)).toEqual(['p5']);
    expect(found[0]?.reasons.join()).toMatch(words);
  });

  test('is not what any night brings: some growth, some loss, another mix', () => {
    const points = historyOf(
      ...usual(5),
      { sourceBytes: 14 * GiB, storedBytes: 6 * GiB, entries: 90_000 },
      { sourceBytes: 8 * GiB, storedBytes: 3 * GiB, entries: 40_000 },
    );
    expect(flagged(points)).toEqual([]);
  });

  test('is nothing that a source has always done', () => {
    const wild = [2, 30, 5, 40, 3, 28, 6].map((n) => ({ sourceBytes: n * GiB, storedBytes: n * 0.4 * GiB }));
    const points = historyOf(...wild, { sourceBytes: 35 * GiB, storedBytes: 14 * GiB });
    expect(flagged(points)).toEqual(['p3']);
    expect(flagged(points, ['p3'])).toEqual([]);
  });

  test('is nothing in a small source: a few megabytes more', () => {
    const small = { sourceBytes: 1_000_000, storedBytes: 400_000, entries: 20 };
    expect(
      flagged(
        historyOf(...Array(5).fill(small), {
          ...small,
          sourceBytes: 40_000_000,
          storedBytes: 16_000_000,
          entries: 900,
        }),
      ),
    ).toEqual([]);
  });

  test('needs three points to compare with', () => {
    expect(flagged(historyOf(...usual(2), { entries: 1 }))).toEqual([]);
    expect(flagged(historyOf(...usual(3), { entries: 1 }))).toEqual(['p3']);
  });

  test('is looked for within a level: an incremental is not a full that shrank', () => {
    const small = { level: 'incremental' as const, sourceBytes: 0.2 * GiB, storedBytes: 0.1 * GiB };
    expect(flagged(historyOf(...usual(4), small, small, small, small, {}))).toEqual([]);
    expect(
      flagged(historyOf(...usual(4), small, small, small, { ...small, storedBytes: 4 * GiB, sourceBytes: 9 * GiB })),
    ).toEqual(['p7']);
  });

  test('is not forgotten when it becomes usual, but once a person has decided', () => {
    const points = historyOf(...usual(5), ...Array(20).fill({ entries: 100 }));
    expect(flagged(points)).toEqual(['p5', 'p6', 'p7', 'p8', 'p9']);
    expect(flagged(points, ['p5'])).toEqual([]);
    expect(flagged(points, ['p3'])).toContain('p5');
    expect(flagged(historyOf(...usual(5), { entries: 100 }, { entries: 60_000 }), ['p5'])).toEqual([]);
    expect(flagged(historyOf(...usual(5), { entries: 100 }, { entries: 20_000 }), ['p5'])).toEqual(['p6']);
  });
});

test('a source that grows steadily is never stopped, in whatever order its points are listed', () => {
  const random = seededRandom(7);
  fc.assert(
    fc.property(fc.double({ min: -0.02, max: 0.05, noNaN: true }), (growth) => {
      const points = historyOf(
        ...Array.from({ length: 60 }, (_, i) => {
          const size = (1 + growth) ** i * (0.9 + random.real() * 0.2);
          return { sourceBytes: 10 * GiB * size, storedBytes: 4 * GiB * size, entries: Math.round(60_000 * size) };
        }),
      );
      expect(flagged(random.shuffle(points))).toEqual([]);
    }),
    { numRuns: 50 },
  );
});
