import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { WalRange } from '../../policies/wal.ts';
import { parseWalKey, walHistoryKey, walRangeKey } from '../../policies/wal-bundle.ts';

const lsn = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const ranges = fc.record({
  timeline: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
  start: lsn,
  end: lsn,
  until: fc
    .date({ min: new Date('2000-01-01'), max: new Date('2099-12-31'), noInvalidDate: true })
    .map((date) => date.toISOString()),
});

describe('the key of WAL in a store', () => {
  test('says all that a listing is asked for, and is read back', () => {
    fc.assert(
      fc.property(ranges, (range) => {
        const key = walRangeKey('shop', range, '1f2e3d4c');
        expect(parseWalKey('shop', key)).toEqual({ kind: 'range', key, range });
      }),
    );
    const history = walHistoryKey('shop', 2, '1f2e3d4c');
    expect(parseWalKey('shop', history)).toEqual({ kind: 'history', key: history, timeline: 2 });
  });

  test('sorts by timeline and position', () => {
    const of = (timeline: number, start: bigint): WalRange => ({
      timeline,
      start,
      end: start + 1n,
      until: '2026-01-01T00:00:00.000Z',
    });
    const sorted = [of(1, 9n), of(1, 1n << 40n), of(2, 5n), of(16, 0n)].map((r) => walRangeKey('shop', r, 'ffffffff'));
    expect([...sorted].sort()).toEqual(sorted);
  });

  test.each([
    'shop/point-1/backup.json',
    'other/wal/00000001/history-1f2e3d4c.wal',
    'shop/wal/1/history-1f2e3d4c.wal',
    'shop/wal/00000001/history-1f2e3d4c.wal.new',
    'shop/wal/00000001/0000000000000000-0000000000000001-20260101T000000Z-1f2e3d4c.wal',
  ])('is none of ours: %s', (key) => {
    expect(parseWalKey('shop', key)).toBeNull();
  });
});
