import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { judgeSize, sizeBounds } from '../../policies/size.ts';

const GiB = 1024 ** 3;

describe('the size check', () => {
  test('refuses a point without bytes, history or not', () => {
    expect(judgeSize(0, []).passed).toBe(false);
    expect(judgeSize(0, [0, 0]).error).toContain('empty');
  });

  test('takes the first point of a source, and says that there was nothing to compare with', () => {
    expect(judgeSize(5, [])).toMatchObject({ passed: true, details: expect.stringContaining('first point') });
  });

  test('refuses a dump of a database that was emptied, and one that is grown out of all proportion', () => {
    const history = [1.0, 1.02, 1.01, 1.03, 0.99].map((n) => n * GiB);
    expect(judgeSize(0.01 * GiB, history).error).toContain('suspiciously small');
    expect(judgeSize(20 * GiB, history).error).toContain('suspiciously large');
    expect(judgeSize(0.5 * GiB, history).passed).toBe(true);
    expect(judgeSize(2 * GiB, history).passed).toBe(true);
  });

  test('is not moved by a few odd points in the history', () => {
    const steady = Array.from({ length: 9 }, (_, i) => GiB + i * 1024);
    expect(sizeBounds([...steady, 500 * GiB, 1]).median).toBeCloseTo(GiB, -5);
    expect(judgeSize(0.1 * GiB, [...steady, 500 * GiB, 1]).passed).toBe(false);
  });

  test('lets a source that has always scattered go on doing so, but not vanish', () => {
    const scattered = [0.1, 2, 0.3, 3, 0.2, 2.5, 0.15].map((n) => n * GiB);
    expect(judgeSize(0.05 * GiB, scattered).passed).toBe(true);
    expect(judgeSize(1024, scattered).passed).toBe(false);
  });

  test('lets an empty database get its first tables', () => {
    expect(judgeSize(15 * 1024 * 1024, [4096, 4096, 4096]).passed).toBe(true);
  });
});

describe('whatever the history', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 2 ** 40 }), { minLength: 1, maxLength: 30 });

  test('the median itself is in line, and the order of the history does not matter', () => {
    fc.assert(
      fc.property(sizes, (history) => {
        const { low, median, high } = sizeBounds(history);
        expect(low).toBeLessThanOrEqual(median);
        expect(high).toBeGreaterThanOrEqual(median);
        expect(sizeBounds(history.toReversed())).toEqual({ low, median, high });
      }),
    );
  });

  test('a fiftieth of the median is always noticed, and a fifth never is', () => {
    fc.assert(
      fc.property(sizes, (history) => {
        const { median } = sizeBounds(history);
        const tiny = Math.floor(median / 51);
        fc.pre(tiny > 0);
        expect(judgeSize(tiny, history).passed).toBe(false);
        expect(judgeSize(Math.ceil(median / 5), history).passed).toBe(true);
      }),
    );
  });
});
