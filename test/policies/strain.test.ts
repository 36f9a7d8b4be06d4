import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  isWalStrained,
  lapse,
  lift,
  nextLapse,
  report,
  restrict,
  restriction,
  type Strain,
} from '../../policies/strain.ts';

const by = { operator: 'Ada', reason: 'the base backup must go first' };
const at = (minute: number) => new Date(Date.UTC(2026, 2, 1, 2, minute)).toISOString();
const leaseMs = 15 * 60_000;
const told = (strains: Strain[], source: string, minute: number, why: string | null = `WAL of ${source}`) =>
  report(strains, { cause: `wal/${source}`, why, leaseMs }, at(minute));

describe('something under strain', () => {
  test('leaves slots to critical sources until it is told to be over', () => {
    const strains = told([], 'a', 0);
    expect(restriction(strains)).toBe('WAL of a');
    expect(restriction(told(strains, 'a', 5, null))).toBeNull();
    expect(restriction([])).toBeNull();
  });

  test('is over with the last of several causes', () => {
    const both = told(told([], 'a', 0), 'b', 1);
    expect(restriction(both)).toBe('WAL of a; WAL of b');
    const one = told(both, 'a', 2, null);
    expect(restriction(one)).toBe('WAL of b');
    expect(restriction(told(one, 'b', 3, null))).toBeNull();
  });

  test('is over when nobody tells of it any more: who saw it may have died', () => {
    const strains = told(told([], 'a', 0), 'b', 10);
    expect(nextLapse(strains)).toBe(at(15));
    expect(lapse(strains, at(14))).toBe(strains);
    expect(restriction(lapse(strains, at(15)))).toBe('WAL of b');
    expect(restriction(lapse(told(strains, 'a', 12), at(15)))).toBe('WAL of a; WAL of b');
  });

  test('is told anew with the first words, and costs nothing when nothing has changed', () => {
    const strains = told([], 'a', 0);
    const renewed = told(strains, 'a', 5, 'other words');
    expect(renewed).toEqual([{ ...strains[0], until: at(20) }]);
    expect(told(renewed, 'a', 5)).toBe(renewed);
    expect(told(strains, 'b', 5, null)).toBe(strains);
  });
});

describe('a person', () => {
  test('may leave slots to critical sources; nothing but a person ends that', () => {
    const strains = restrict([], by, at(0));
    expect(restriction(strains)).toBe('Ada wants it so: the base backup must go first');
    expect(nextLapse(strains)).toBeNull();
    expect(lapse(strains, at(59))).toBe(strains);
    expect(lift(strains, by)).toEqual([]);
  });

  test('may lift it, until what is under strain comes under strain once more', () => {
    const lifted = lift(told([], 'a', 0), by);
    expect(restriction(lifted)).toBeNull();
    expect(restriction(told(lifted, 'a', 5))).toBeNull();
    expect(restriction(told(lifted, 'b', 5))).toBe('WAL of b');
    expect(restriction(told(told(lifted, 'a', 6, null), 'a', 7))).toBe('WAL of a');
    expect(restriction(restrict(lifted, by, at(8)))).toContain('WAL of a');
  });
});

test('whatever is told in whatever order, slots are restricted while some cause counts, and only then', () => {
  type Step = { minutes: number } & ({ source: string; isOver: boolean } | { person: 'restrict' | 'lift' });
  const minutes = fc.integer({ min: 0, max: 10 });
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({ minutes, source: fc.constantFrom('a', 'b', 'c'), isOver: fc.boolean() }),
    fc.record({ minutes, person: fc.constantFrom('restrict' as const, 'lift' as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let strains: Strain[] = [];
      let now = 0;
      /** Until which minute each cause holds, and whether it counts. */
      const holds = new Map<string, { until: number; counts: boolean }>();
      for (const s of steps) {
        now += s.minutes;
        strains = lapse(strains, at(now));
        for (const [cause, { until }] of holds) if (until <= now) holds.delete(cause);
        if ('source' in s) {
          strains = told(strains, s.source, now, s.isOver ? null : 'x');
          if (s.isOver) holds.delete(s.source);
          else holds.set(s.source, { until: now + 15, counts: holds.get(s.source)?.counts ?? true });
        } else if (s.person === 'restrict') {
          strains = restrict(strains, by, at(now));
          for (const cause of holds.values()) cause.counts = true;
          holds.set('person', { until: Number.POSITIVE_INFINITY, counts: true });
        } else {
          strains = lift(strains, by);
          holds.delete('person');
          for (const cause of holds.values()) cause.counts = false;
        }
        expect(restriction(strains) !== null).toBe([...holds.values()].some((h) => h.counts));
        expect(new Set(strains.map((x) => x.cause)).size).toBe(strains.length);
      }
    }),
  );
});

test('WAL that waits strains its server near the limit, and no longer well below it', () => {
  const looks = [0.5, 0.79, 0.8, 0.6, 0.5, 0.49, 0.6].map((share) => share * 1000);
  let was = false;
  const seen = looks.map((bytes) => {
    was = isWalStrained(bytes, 1000, was);
    return was;
  });
  expect(seen).toEqual([false, false, true, true, true, false, false]);
});
