import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  type BasePoint,
  gapsOf,
  historyName,
  ledOn,
  lsnOf,
  lsnText,
  mergeRanges,
  parseHistory,
  parseSegmentName,
  pathTo,
  reachOf,
  segmentName,
  type TimelineHistory,
  type WalRange,
} from '../../policies/wal.ts';

const second = (n: number) => new Date(Date.UTC(2026, 0, 1) + n * 1000).toISOString();
/** A range that reaches, in seconds, as far as it does in bytes. */
const range = (start: number, end: number, timeline = 1): WalRange => ({
  timeline,
  start: BigInt(start),
  end: BigInt(end),
  until: second(end),
});
const base = (start: number, end: number, timeline = 1): BasePoint => ({
  id: `base-${end}`,
  timeline,
  start: BigInt(start),
  end: BigInt(end),
  capturedAt: second(end),
  consistentAt: second(end),
});
/** The first timeline was left at 100 for the second, that at 200 for the third. */
const second2: TimelineHistory = { timeline: 2, ancestors: [{ timeline: 1, until: 100n }] };
const third: TimelineHistory = {
  timeline: 3,
  ancestors: [
    { timeline: 1, until: 100n },
    { timeline: 2, until: 200n },
  ],
};

describe('positions and names', () => {
  test('are written as PostgreSQL writes them, and read back', () => {
    expect(lsnText(lsnOf('16/B374D848'))).toBe('16/B374D848');
    expect(lsnOf('1/0')).toBe(1n << 32n);
    expect(() => lsnOf('16-B3')).toThrow(RangeError);
    expect(segmentName(1, lsnOf('16/B374D848'), 16 * 1024 * 1024)).toBe('0000000100000016000000B3');
    expect(segmentName(2, lsnOf('1/40000000'), 1024 ** 3)).toBe('000000020000000100000001');
    expect(historyName(11)).toBe('0000000B.history');
    expect(parseSegmentName('0000000B.history', 16 * 1024 * 1024)).toBeNull();
  });

  test('of segments lead back to where they begin, whatever their size', () => {
    const sizes = fc.constantFrom(1, 16, 64, 1024).map((mebibytes) => mebibytes * 1024 * 1024);
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: (1n << 63n) - 1n }),
        sizes,
        fc.integer({ min: 1, max: 2 ** 32 - 1 }),
        (lsn, size, timeline) => {
          const start = lsn - (lsn % BigInt(size));
          expect(parseSegmentName(segmentName(timeline, lsn, size), size)).toEqual({ timeline, start });
        },
      ),
    );
  });

  test('of a history file are read with its comments', () => {
    const text = '# made by hand\n1\t0/64\tbefore 2026-01-01\n\n2\t0/C8\tno recovery target specified\n';
    expect(parseHistory(3, text)).toEqual(third);
  });
});

describe('what an archive holds', () => {
  test('is one stretch where ranges touch or overlap, in whatever order', () => {
    const ranges = [range(50, 80), range(0, 50), range(70, 75), range(90, 100), range(0, 10, 2)];
    expect(mergeRanges(ranges, 1)).toEqual([range(0, 80), range(90, 100)]);
  });

  test('has a gap wherever a byte between its ends is missing, and nowhere else', () => {
    const cuts = fc.array(
      fc.record({ start: fc.integer({ min: 0, max: 99 }), length: fc.integer({ min: 1, max: 30 }) }),
      {
        minLength: 1,
        maxLength: 12,
      },
    );
    fc.assert(
      fc.property(cuts, (pieces) => {
        const ranges = pieces.map(({ start, length }) => range(start, start + length));
        const held = new Set(ranges.flatMap((r) => bytes(Number(r.start), Number(r.end))));
        const all = bytes(Math.min(...held), Math.max(...held) + 1);
        const missing = gapsOf(ranges, []).flatMap((gap) => bytes(Number(gap.from), Number(gap.to)));
        expect(missing).toEqual(all.filter((b) => !held.has(b)));
      }),
    );
  });

  test('has a gap where a timeline was left before it was archived up to there', () => {
    expect(gapsOf([range(0, 100), range(96, 150, 2)], [second2])).toEqual([]);
    expect(gapsOf([range(0, 90), range(96, 150, 2)], [second2])).toEqual([{ timeline: 1, from: 90n, to: 100n }]);
    expect(gapsOf([range(0, 100), range(120, 150, 2)], [second2])).toEqual([{ timeline: 2, from: 100n, to: 120n }]);
    expect(gapsOf([range(0, 100), range(190, 220, 3)], [second2, third])).toEqual([
      { timeline: 2, from: 100n, to: 200n },
    ]);
  });

  test('has none for what came before it began, nor on a branch that was given up', () => {
    expect(gapsOf([range(96, 150, 2)], [second2])).toEqual([]);
    expect(gapsOf([range(0, 130), range(96, 150, 2)], [second2])).toEqual([]);
  });
});

describe('how far a base backup leads', () => {
  test('is up to the first gap, and as far in time', () => {
    const ranges = [range(0, 50), range(50, 70), range(80, 90)];
    expect(reachOf(base(10, 20), 1, ranges, [])).toEqual({
      timeline: 1,
      lsn: 70n,
      until: second(70),
      gap: { timeline: 1, from: 70n, to: 80n },
    });
    expect(reachOf(base(70, 85), 1, ranges, [])).toMatchObject({ lsn: 90n, gap: null });
  });

  test('is its own end where nothing follows', () => {
    expect(reachOf(base(10, 20), 1, [], [])).toEqual({ timeline: 1, lsn: 20n, until: second(20), gap: null });
  });

  test('goes over from one timeline to the next where the first was left', () => {
    const ranges = [range(0, 130), range(96, 150, 2)];
    expect(reachOf(base(10, 20), 2, ranges, [second2])).toEqual({
      timeline: 2,
      lsn: 150n,
      until: second(150),
      gap: null,
    });
    expect(reachOf(base(10, 20), 1, ranges, [second2])).toMatchObject({ timeline: 1, lsn: 130n });
    expect(reachOf(base(10, 20), 2, [range(0, 90), range(96, 150, 2)], [second2])).toMatchObject({
      timeline: 1,
      lsn: 90n,
      gap: { timeline: 1, from: 90n, to: 100n },
    });
  });

  test('is nothing for a timeline that was left before the backup, or is none of its own', () => {
    expect(reachOf(base(100, 110), 2, [range(0, 130), range(96, 150, 2)], [second2])).toBeNull();
    expect(reachOf(base(100, 110, 2), 1, [range(0, 130)], [second2])).toBeNull();
  });

  test('never claims a byte that is not there, nor passes one that is', () => {
    const cuts = fc.array(fc.tuple(fc.integer({ min: 0, max: 99 }), fc.integer({ min: 1, max: 30 })), {
      maxLength: 10,
    });
    fc.assert(
      fc.property(cuts, fc.integer({ min: 1, max: 60 }), (pieces, end) => {
        const ranges = pieces.map(([start, length]) => range(start, start + length));
        const held = new Set(ranges.flatMap((r) => bytes(Number(r.start), Number(r.end))));
        let expected = end;
        while (held.has(expected)) expected++;
        expect(reachOf(base(0, end), 1, ranges, [])?.lsn).toBe(BigInt(expected));
      }),
    );
  });
});

test('the way to a timeline leads over those it comes from', () => {
  expect(pathTo(3, [second2, third])).toEqual([
    { timeline: 1, start: 0n, end: 100n },
    { timeline: 2, start: 100n, end: 200n },
    { timeline: 3, start: 200n, end: null },
  ]);
});

function bytes(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

describe('an end of WAL', () => {
  const range = (timeline: number, start: bigint, end: bigint) => ({ timeline, start, end, until: `until ${end}` });

  test('is led on by what touches it, over any number of ranges, and not over a gap', () => {
    const staged = [range(1, 20n, 30n), range(1, 10n, 20n), range(1, 31n, 40n)];
    expect(ledOn(range(1, 0n, 12n), staged)).toEqual(range(1, 20n, 30n));
    expect(ledOn(range(1, 0n, 5n), staged)).toEqual(range(1, 0n, 5n));
  });

  test('is led on to a newer timeline, also where production went back in time', () => {
    expect(ledOn(range(1, 0n, 30n), [range(2, 16n, 24n)])).toEqual(range(2, 16n, 24n));
  });

  test('is not led back by what is older', () => {
    expect(ledOn(range(2, 0n, 30n), [range(1, 0n, 40n), range(2, 10n, 20n)])).toEqual(range(2, 0n, 30n));
  });

  test('begins with the first range where there is none yet', () => {
    expect(ledOn(null, [range(1, 10n, 20n), range(1, 20n, 25n)])).toEqual(range(1, 20n, 25n));
    expect(ledOn(null, [])).toBeNull();
  });
});
