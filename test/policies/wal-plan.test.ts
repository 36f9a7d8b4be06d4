import { describe, expect, test } from '@jest/globals';
import type { BasePoint, TimelineHistory } from '../../policies/wal.ts';
import { type ArchiveView, type Happenings, planRecovery, type RecoveryTarget } from '../../policies/wal-plan.ts';

const second = (n: number) => new Date(Date.UTC(2026, 0, 1) + n * 1000).toISOString();
const base = (start: number, end: number, timeline = 1): BasePoint => ({
  id: `base-${end}`,
  timeline,
  start: BigInt(start),
  end: BigInt(end),
  capturedAt: second(end),
  consistentAt: second(end + 1),
});
const range = (start: number, end: number, timeline = 1) => ({
  timeline,
  start: BigInt(start),
  end: BigInt(end),
  until: second(end),
  key: `${timeline}/${start}`,
});
const ended = (
  lastAt: number | null,
  xids: [number, number] | null = null,
  points: [string, number][] = [],
): Happenings => ({
  transactions: {
    count: lastAt === null ? 0 : 1,
    lastAt: lastAt === null ? null : second(lastAt),
    xids: xids && { min: xids[0], max: xids[1] },
  },
  restorePoints: points.map(([name, lsn]) => ({ name, lsn: BigInt(lsn), at: second(lsn) })),
});

/** Two base backups; WAL in ranges of ten; the second timeline was begun at 60. */
const history: TimelineHistory = { timeline: 2, ancestors: [{ timeline: 1, until: 60n }] };
const view: ArchiveView = {
  bases: [base(5, 10), base(35, 40)],
  ranges: [...[0, 10, 20, 30, 40, 50, 60].map((n) => range(n, n + 10)), range(56, 90, 2)],
  histories: [history],
  happenings: new Map([
    ['1/10', ended(15, [100, 104], [['release', 12]])],
    ['1/20', ended(25, [105, 109])],
    ['1/30', ended(35, [110, 114])],
    ['1/40', ended(45, [115, 119], [['release', 47]])],
    ['1/50', ended(55, [120, 124])],
    ['1/60', ended(65, [125, 129], [['lost', 66]])],
    ['2/56', ended(80, [125, 140], [['after', 70]])],
  ]),
};

const plan = (target: RecoveryTarget, timeline?: number, given = view) => planRecovery(given, target, timeline);
const refusal = (target: RecoveryTarget, timeline?: number, given = view) => {
  try {
    plan(target, timeline, given);
  } catch (error) {
    return error as { type: string; message: string; next: string };
  }
  throw new Error('it was expected to be refused');
};

describe('a moment to come back to', () => {
  test('is reached from the last base backup before it', () => {
    expect(plan({ kind: 'time', at: second(43) })).toMatchObject({
      base: { id: 'base-40' },
      timeline: 2,
      stop: { setting: 'recovery_target_time', value: second(43) },
    });
    expect(plan({ kind: 'time', at: second(40) })).toMatchObject({ base: { id: 'base-10' } });
    expect(plan({ kind: 'lsn', lsn: 39n })).toMatchObject({ base: { id: 'base-10' } });
    expect(plan({ kind: 'lsn', lsn: 40n })).toMatchObject({
      base: { id: 'base-40' },
      stop: { setting: 'recovery_target_lsn', value: '0/28' },
    });
  });

  test('may be the end of what there is', () => {
    expect(plan({ kind: 'latest' })).toMatchObject({
      base: { id: 'base-40' },
      timeline: 2,
      reach: { lsn: 90n },
      stop: null,
    });
    expect(plan({ kind: 'lsn', lsn: 90n })).toMatchObject({ stop: null });
  });

  test('after which nothing happened is the end, for the server would wait for something to stop at', () => {
    expect(plan({ kind: 'time', at: second(80) })).toMatchObject({ stop: null });
    expect(plan({ kind: 'time', at: second(79) })).toMatchObject({ stop: { value: second(79) } });
  });

  test('is on the newest timeline, or on the one that is named', () => {
    expect(plan({ kind: 'time', at: second(65) })).toMatchObject({ timeline: 2 });
    expect(plan({ kind: 'latest' }, 1)).toMatchObject({ timeline: 1, reach: { timeline: 1, lsn: 70n } });
    expect(refusal({ kind: 'latest' }, 7)).toMatchObject({ type: 'PointUnknown', next: 'It has: 1, 2.' });
  });

  test('may be a named one: of several the last, by its position', () => {
    expect(plan({ kind: 'name', name: 'release' })).toMatchObject({
      base: { id: 'base-40' },
      stop: { setting: 'recovery_target_lsn', value: '0/2F' },
    });
    expect(plan({ kind: 'name', name: 'after' })).toMatchObject({ stop: { value: '0/46' } });
    expect(plan({ kind: 'name', name: 'lost' }, 1)).toMatchObject({ stop: { value: '0/42' } });
  });

  test('may be a transaction, reached from a base backup before the range that holds its end', () => {
    expect(plan({ kind: 'xid', xid: 117 })).toMatchObject({
      base: { id: 'base-40' },
      stop: { setting: 'recovery_target_xid', value: '117' },
    });
    expect(plan({ kind: 'xid', xid: 111 })).toMatchObject({ base: { id: 'base-10' } });
  });
});

describe('a moment that cannot be reached is refused, with the nearest that can', () => {
  test('before every base backup', () => {
    expect(refusal({ kind: 'time', at: second(9) })).toMatchObject({
      type: 'PointUnknown',
      next: `The earliest moment that can be reached is ${second(11)}, with base-10 as it is.`,
    });
    expect(refusal({ kind: 'lsn', lsn: 9n }).next).toContain('0/A, with base-10');
    expect(refusal({ kind: 'xid', xid: 99 }).next).toContain('transactions 100 to 140');
  });

  test('behind the end', () => {
    expect(refusal({ kind: 'time', at: second(91) }).next).toBe(
      `The nearest moment that can be reached is ${second(90)}.`,
    );
    expect(refusal({ kind: 'lsn', lsn: 91n }).next).toBe('The nearest position that can be reached is 0/5A.');
    expect(refusal({ kind: 'time', at: second(80) }, 1).next).toContain(second(70));
  });

  test('behind a gap, which is named', () => {
    const holed = { ...view, ranges: view.ranges.filter((r) => r.key !== '1/40') };
    expect(refusal({ kind: 'time', at: second(55) }, 1, holed)).toMatchObject({
      message: expect.stringContaining('WAL from 0/28 to 0/32 of timeline 1 is missing'),
      next: `The nearest moment that can be reached is ${second(40)}.`,
    });
    expect(refusal({ kind: 'lsn', lsn: 55n }, 1, holed).next).toContain('0/28');
  });

  test('by a name that nobody gave, or on a timeline that was left before', () => {
    expect(refusal({ kind: 'name', name: 'relaese' }).next).toBe('It has: release, after.');
    expect(refusal({ kind: 'name', name: 'lost' }).next).toBe('It has: release, after.');
  });

  test('without any base backup', () => {
    expect(refusal({ kind: 'latest' }, undefined, { ...view, bases: [] })).toMatchObject({ type: 'PointUnknown' });
    expect(refusal({ kind: 'latest' }, undefined, { ...view, bases: [base(70, 80)] })).toMatchObject({
      type: 'PointUnknown',
    });
  });
});
