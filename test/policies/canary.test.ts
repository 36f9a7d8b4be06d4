import { describe, expect, test } from '@jest/globals';
import { type Canary, measureRpo, withShipped, withWritten } from '../../policies/canary.ts';

const second = (n: number) => new Date(Date.UTC(2026, 0, 1) + n * 1000).toISOString();

/** Written at that second, by a server whose clock is an hour ahead. */
const canary = (n: number, timeline = 1) => ({
  at: second(n + 3600),
  lsn: `0/${n.toString(16).toUpperCase()}`,
  timeline,
  writtenAt: second(n),
});
const written = (...seconds: number[]): Canary[] =>
  seconds.reduce<Canary[]>((known, n) => withWritten(known, canary(n)), []);
const shipped = (upTo: number, at: number, timeline = 1) => ({ timeline, end: BigInt(upTo), at: second(at) });

describe('the measured RPO', () => {
  test('is how long rows took to get into all copies, whatever the clock of the server', () => {
    const known = withShipped(withShipped(written(10, 70, 130), shipped(10, 35)), shipped(80, 80));
    expect(known.map((c) => c.restorableAfterMs)).toEqual([25_000, 10_000, null]);
    expect(measureRpo(known, second(140))).toEqual({
      newest: { at: second(3670), lsn: '0/46' },
      lagMs: 10_000,
      worstLagMs: 25_000,
      last: [
        { at: second(3610), afterMs: 25_000 },
        { at: second(3670), afterMs: 10_000 },
      ],
    });
  });

  test('grows while a row does not get there', () => {
    const known = withShipped(written(10, 70), shipped(10, 12));
    expect(measureRpo(known, second(370))).toMatchObject({ lagMs: 2_000, worstLagMs: 300_000 });
  });

  test('is unknown before the first row', () => {
    expect(measureRpo([], second(0))).toEqual({ newest: null, lagMs: null, worstLagMs: null, last: [] });
    expect(measureRpo(written(10), second(15))).toMatchObject({ newest: null, lagMs: null, worstLagMs: 5_000 });
  });

  test('does not take positions of one timeline for those of another', () => {
    expect(withShipped(written(10), shipped(99, 20, 2))[0]?.restorableAfterMs).toBe(10_000);
    const onSecond = withWritten([], canary(10, 2));
    expect(withShipped(onSecond, shipped(99, 20, 1))[0]?.restorableAfterMs).toBeNull();
  });

  test('is that of the last hour', () => {
    const known = written(...Array.from({ length: 100 }, (_, i) => i * 60));
    expect(known).toHaveLength(60);
    expect(known[0]?.writtenAt).toBe(second(40 * 60));
  });
});
