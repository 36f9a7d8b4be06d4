import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatBytes, formatDuration, formatProgress } from '../../policies/progress.ts';

describe('sizes', () => {
  test.each([
    [0, '0 B'],
    [-5, '0 B'],
    [1023, '1023 B'],
    [1024, '1.00 KiB'],
    [1024 * 1024 - 1, '1.00 MiB'],
    [1.456 * 1024 ** 3, '1.46 GiB'],
    [12.34 * 1024 ** 2, '12.3 MiB'],
    [999 * 1024 ** 4, '999 TiB'],
    [2000 * 1024 ** 5, '2000 PiB'],
  ])('%d bytes are %s', (bytes, words) => {
    expect(formatBytes(bytes)).toBe(words);
  });

  test('have three significant digits at least, and are within half a percent of the truth', () => {
    const scale = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4, PiB: 1024 ** 5 };
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 50 }), (bytes) => {
        const [number = '', unit = ''] = formatBytes(bytes).split(' ');
        const shown = Number(number) * scale[unit as keyof typeof scale];
        expect(Math.abs(shown - bytes) / bytes).toBeLessThanOrEqual(0.005);
        expect(number.length).toBeLessThanOrEqual(4);
      }),
    );
  });
});

describe('durations', () => {
  test.each([
    [0, '0 ms'],
    [849.6, '850 ms'],
    [12_345, '12.3 s'],
    [59_949, '59.9 s'],
    [59_950, '1 min 00 s'],
    [245_000, '4 min 05 s'],
    [3_599_400, '59 min 59 s'],
    [3_599_500, '1 h 00 min'],
    [7_620_000, '2 h 07 min'],
    [360_000_000, '100 h 00 min'],
  ])('%d milliseconds are %s', (ms, words) => {
    expect(formatDuration(ms)).toBe(words);
  });

  test('never show sixty of a smaller unit', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10 ** 9 }), (ms) =>
        expect(formatDuration(ms)).not.toMatch(/(^| )60(\.0)? (s|min)/),
      ),
    );
  });
});

test('the progress line has its three parts', () => {
  expect(formatProgress({ backedUpBytes: 1536, validated: 5, replicating: '2 of 3 copies' })).toBe(
    '💾 Backed Up: 1.50 KiB | ✅ Validated: 5 | 🔄 Replicating: 2 of 3 copies',
  );
});
