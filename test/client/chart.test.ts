import { describe, expect, test } from '@jest/globals';
import { stackedChart, ticksUpTo } from '../../client/chart.ts';

const points = (svg: string) =>
  [...svg.matchAll(/<polygon[^>]* points="([^"]+)"/g)].map(([, list]) =>
    (list ?? '').split(' ').map((pair) => pair.split(',').map(Number) as [number, number]),
  );

const chart = stackedChart({
  title: 'Bytes & <tiers>',
  labels: ['2026-01', '2026-02', '2026-03'],
  series: [
    { name: 'hot', values: [1, 2, 4] },
    { name: 'cold', values: [4, 3, 6] },
  ],
  words: (n) => `${n} B`,
  base: 10,
});

describe('a stacked chart', () => {
  test('lays each series on top of the one below, to scale', () => {
    const [hot, cold] = points(chart);
    if (!hot || !cold) throw new Error('two areas are missing');
    const floor = Math.max(...hot.map(([, y]) => y));
    const height = (list: [number, number][], at: number) => floor - (list[at]?.[1] ?? Number.NaN);
    const unit = height(hot, 0);
    expect([0, 1, 2].map((at) => height(hot, at) / unit)).toEqual([1, 2, 4].map((v) => expect.closeTo(v, 1)));
    expect([0, 1, 2].map((at) => height(cold, at) / unit)).toEqual([5, 5, 10].map((v) => expect.closeTo(v, 1)));
    // The lower edge of the upper area is the upper edge of the lower one.
    expect(cold.slice(3).reverse()).toEqual(hot.slice(0, 3));
  });

  test('tells every value to those who point at it', () => {
    expect(chart).toContain('<title>2026-03\ncold: 6 B\nhot: 4 B\ntogether: 10 B</title>');
  });

  test('says what it shows in words, whatever they contain', () => {
    expect(chart).toContain('aria-label="Bytes &amp; &lt;tiers&gt;"');
    expect(chart).not.toContain('<tiers>');
  });

  test.each([
    ['nothing at all', [], []],
    ['nothing but noughts', ['a', 'b'], [0, 0]],
    ['a single value', ['a'], [7]],
  ])('can draw %s', (_what, labels, values) => {
    const svg = stackedChart({ title: 't', labels, series: [{ name: 's', values }], words: String, base: 10 });
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  });
});

describe('the ticks of an axis', () => {
  test.each([
    [0, 10, [0, 1]],
    [9, 10, [0, 2, 4, 6, 8, 10]],
    [0.043, 10, [0, 0.01, 0.02, 0.03, 0.04, 0.05]],
    [1024, 1024, [0, 0.2, 0.4, 0.6, 0.8, 1].map((t) => t * 1024)],
    [78 * 1024 ** 4, 1024, [0, 20, 40, 60, 80].map((t) => t * 1024 ** 4)],
  ] as const)('up to %d in units of %d are round', (most, base, expected) => {
    expect(ticksUpTo(most, base)).toEqual(expected.map((t) => expect.closeTo(t, 6)));
  });

  test('never end below the highest value, nor become many', () => {
    for (let most = 1e-3; most < 1e15; most *= 1.37) {
      for (const base of [10, 1024] as const) {
        const ticks = ticksUpTo(most, base);
        expect(ticks.at(-1)).toBeGreaterThanOrEqual(most * (1 - 1e-9));
        expect(ticks.length).toBeLessThanOrEqual(11);
        expect(ticks.length).toBeGreaterThanOrEqual(3);
      }
    }
  });
});
