import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  type HoldNote,
  holdFormat,
  holdInWords,
  holdNote,
  holdNoteName,
  isHeld,
  mergeNotes,
  openHolds,
} from '../../policies/hold.ts';

const note = (action: HoldNote['action'], at: string, operator = 'Ada'): HoldNote => ({
  format: holdFormat,
  action,
  source: 'shop',
  point: 'shop-1',
  operator,
  reason: 'a lawsuit',
  at,
});
const [first, second, third] = ['2026-03-01T08:00:00.000Z', '2026-03-01T08:00:00.001Z', '2027-01-01T00:00:00.000Z'];

describe('notes on a legal hold', () => {
  test('have names that sort by time, whatever is in them', () => {
    const instant = fc.date({ noInvalidDate: true, min: new Date(0), max: new Date('9999-01-01') });
    fc.assert(
      fc.property(instant, instant, (a, b) => {
        const names = [a, b].map((d) => holdNoteName(note('add', d.toISOString())));
        expect((names[0] ?? '') < (names[1] ?? '')).toBe(a.getTime() < b.getTime());
      }),
    );
    expect(holdNoteName(note('add', first))).toBe('hold.20260301t080000000z.add.json');
  });

  test('say who and why, or are none', () => {
    expect(holdNote.safeParse(note('add', first)).success).toBe(true);
    expect(holdNote.safeParse({ ...note('add', first), operator: '' }).success).toBe(false);
    expect(holdInWords(note('add', first))).toBe('by Ada since 2026-03-01 08:00:00Z: a lawsuit');
  });

  test('of several stores are each counted once, in order', () => {
    const [added, lifted] = [note('add', first), note('remove', second)];
    expect(mergeNotes([lifted, added], [added])).toEqual([added, lifted]);
  });
});

describe('a point is held', () => {
  test('by what a store enforces, though nobody noted it', () => {
    expect(isHeld({ holds: [], copies: [{ held: false }, { held: true }] })).toBe(true);
    expect(isHeld({ holds: [note('add', first)], copies: [{ held: false }] })).toBe(true);
    expect(isHeld({ holds: [], copies: [{ held: false }] })).toBe(false);
  });

  test('since the first note that was not lifted', () => {
    expect(openHolds([])).toEqual([]);
    expect(openHolds([note('add', first), note('add', second, 'Bob')]).map((n) => n.operator)).toEqual(['Ada', 'Bob']);
    expect(openHolds([note('add', first), note('remove', second)])).toEqual([]);
    expect(openHolds([note('remove', second), note('add', third), note('add', first)])).toEqual([note('add', third)]);
  });
});
