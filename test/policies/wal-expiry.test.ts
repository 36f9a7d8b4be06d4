import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { judgeSource } from '../../policies/source-expiry.ts';
import { mayRemoveWal, ripeMark, walNeededFrom } from '../../policies/wal-expiry.ts';
import { makePoint, trusted } from '../engine/catalog/points.ts';
import { policyOf } from './policies.ts';

const day = (n: number) => new Date(Date.UTC(2026, 0, 1 + n)).toISOString();
const lsn = (n: number) => `0/${n.toString(16).toUpperCase()}`;

/** A base backup of that day, whose WAL begins at as many bytes. */
function base(n: number, { passed = true, startLsn = lsn(n * 100) as string | number } = {}) {
  const facts = { startLsn, endLsn: lsn(n * 100 + 10), timeline: 1 };
  const { backup } = makePoint({ id: `shop-${n}`, capturedAt: day(n), passed, facts });
  const copies = [{ state: 'verified', publishedAt: day(n), lockedUntil: null, held: false }];
  return { backup, copies, holds: [] };
}

/** From where on the WAL is needed on a day, with a window of ten days and points that stay for twenty. */
function neededOn(n: number, ...known: ReturnType<typeof base>[]): string | null {
  const made = policyOf({
    sources: [{ kind: 'postgres-physical', name: 'shop', connection: { host: 'db', user: 'backup' } }],
    retention: { keepManual: '20d', keepWithin: '1d', minimumAge: '1d', pointInTime: '10d' },
  });
  const policy = { ...made, keys: { ...made.keys, trusted } };
  const storeNow = day(n);
  const judged = judgeSource({ policy, source: 'shop', points: known, storeNow, marks: [], decided: [] });
  return walNeededFrom(known, judged, policy, storeNow);
}

describe('WAL', () => {
  test('is needed from the newest base backup on from which every moment of the window can be reached', () => {
    expect(neededOn(15, base(1), base(4), base(6), base(12))).toBe(lsn(400));
    expect(neededOn(16, base(1), base(4), base(6), base(12))).toBe(lsn(600));
  });

  test('is needed from the oldest on while the window reaches further back', () => {
    expect(neededOn(9, base(4), base(6))).toBe(lsn(400));
  });

  test('is not needed by points that do not stay, or do not count', () => {
    expect(neededOn(30, base(1), base(25))).toBe(lsn(2500));
    expect(neededOn(9, base(2, { passed: false }), base(6))).toBe(lsn(600));
  });

  test('is all kept while nothing shows what is needless', () => {
    expect(neededOn(9)).toBeNull();
    expect(neededOn(9, base(4, { startLsn: 7 }))).toBeNull();
  });
});

describe('removing WAL', () => {
  const range = (start: number, end: number, storedAt = day(1)) => ({
    start: BigInt(start),
    end: BigInt(end),
    storedAt,
  });
  const mark = { from: lsn(400), markedAt: day(5) };

  test('takes that nothing needs it, and nothing needed it when it was marked', () => {
    expect(mayRemoveWal(range(300, 400), lsn(400), mark)).toBe(true);
    expect(mayRemoveWal(range(300, 401), lsn(600), mark)).toBe(false);
    expect(mayRemoveWal(range(300, 400), lsn(399), mark)).toBe(false);
    expect(mayRemoveWal(range(300, 400), null, mark)).toBe(false);
  });

  test('spares what was stored after it was marked', () => {
    expect(mayRemoveWal(range(300, 400, day(6)), lsn(400), mark)).toBe(false);
  });

  test('waits for the time of grace, and goes by the newest mark whose is over', () => {
    const marks = [1, 2, 3, 4].map((n) => ({ from: lsn(n), markedAt: day(n) }));
    const graceMs = 2 * 86_400_000;
    expect(ripeMark(marks, { storeNow: day(5), graceMs })).toEqual(marks[2]);
    expect(ripeMark(marks, { storeNow: day(2), graceMs })).toBeNull();
  });

  test('never takes what lies behind the position that is needed, whatever the mark', () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.nat(1000), fc.nat(1000), fc.nat(1000), (start, length, needed, marked) => {
        const removed = mayRemoveWal(range(start, start + length), lsn(needed), {
          from: lsn(marked),
          markedAt: day(5),
        });
        return removed === start + length <= Math.min(needed, marked);
      }),
      { numRuns: 10_000 },
    );
  });
});
