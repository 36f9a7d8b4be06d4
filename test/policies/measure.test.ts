import { describe, expect, test } from '@jest/globals';
import { type Assumptions, type MeasurablePoint, measureSource } from '../../policies/measure.ts';

const assumed: Assumptions = { fullBytes: 5000, changePerDay: 0.02, growthPerYear: 0.2, restoresPerYear: 4 };
const on = (day: number) => new Date(Date.UTC(2026, 0, 1 + day)).toISOString();
const full = (pointId: string, day: number, storedBytes: number): MeasurablePoint => ({
  ...{ pointId, parent: null, level: 'full', capturedAt: on(day), storedBytes },
});
const child = (pointId: string, parent: string, day: number, storedBytes: number): MeasurablePoint => ({
  ...{ pointId, parent, level: 'incremental', capturedAt: on(day), storedBytes },
});
const measure = (...points: MeasurablePoint[]) => measureSource(points, assumed, 'disk');

describe('what a source is taken for', () => {
  test('is assumed, and said to be, where there is no point', () => {
    expect(measure()).toEqual({
      values: { fullBytes: 5000, changePerDay: 0.02, growthPerYear: 0.2, restores: { perYear: 4, copy: 'disk' } },
      basis: {
        fullBytes: '4.88 KiB, assumed',
        changePerDay: '2 % a day, assumed',
        growthPerYear: '20 % a year, assumed',
      },
    });
  });

  test('is as large as its newest full backup', () => {
    const { values, basis } = measure(full('new', 9, 2000), full('old', 1, 1000), child('last', 'new', 10, 10));
    expect(values.fullBytes).toBe(2000);
    expect(basis.fullBytes).toBe('1.95 KiB, as new');
  });

  test('changes as its differences do, each over the time since what it needs', () => {
    const daily = [1, 2, 3].map((n) => child(`day-${n}`, n === 1 ? 'full' : `day-${n - 1}`, n, 100));
    // Two days of a tenth each touch 19 % of it.
    const late = child('late', 'day-3', 5, 190);
    const { values, basis } = measure(full('full', 0, 1000), ...daily, late);
    expect(values.changePerDay).toBeCloseTo(0.1);
    expect(basis.changePerDay).toBe('10 % a day, median of 4');
  });

  test('changes whole at most, and differences whose parent is gone tell nothing', () => {
    expect(measure(full('full', 0, 1000), child('a', 'full', 1, 3000)).values.changePerDay).toBe(1);
    expect(measure(full('full', 0, 1000), child('a', 'gone', 1, 500)).basis.changePerDay).toContain('assumed');
  });

  test('grows as its full backups do, over a month or more', () => {
    expect(measure(full('a', 0, 1000), full('b', 29, 2000)).basis.growthPerYear).toContain('assumed');
    const { values, basis } = measure(full('b', 365.25, 1300), full('a', 0, 1000));
    expect(values.growthPerYear).toBeCloseTo(0.3);
    expect(basis.growthPerYear).toBe('30 % a year, since 2026-01-01');
  });

  test('is not restored where nobody says so', () => {
    expect(measureSource([], { ...assumed, restoresPerYear: 0 }, 'disk').values.restores).toBeNull();
  });
});
