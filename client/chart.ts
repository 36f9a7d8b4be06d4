/** Series drawn on top of each other, as one SVG without scripts. */
export interface ChartOptions {
  /** For those who cannot see it, too. */
  title: string;
  /** One for each value of a series, e.g. `2026-01`. */
  labels: string[];
  /** From the bottom up. */
  series: { name: string; values: number[] }[];
  /** Values in words, for the axis and the tooltips. */
  words(value: number): string;
  /** What the axis counts in: 1024 for bytes, 10 for others. */
  base: 1024 | 10;
}

const size = { width: 960, height: 320, left: 84, right: 16, top: 16, bottom: 44 } as const;
const inner = { width: size.width - size.left - size.right, height: size.height - size.top - size.bottom };
/** By Okabe and Ito: told apart also by those who see few colours. */
const colours = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#f0e442', '#999999'];

/** A stacked area chart, with its legend and a tooltip for each label. */
export function stackedChart({ title, labels, series, words, base }: ChartOptions): string {
  const count = labels.length;
  const tops = series.map((_, i) => labels.map((_, at) => sum(series.slice(0, i + 1).map((s) => s.values[at] ?? 0))));
  const totals = tops.at(-1) ?? [];
  const ticks = ticksUpTo(Math.max(0, ...totals), base);
  const most = ticks.at(-1) ?? 1;
  const x = (at: number) => size.left + (count < 2 ? inner.width / 2 : (at / (count - 1)) * inner.width);
  const y = (value: number) => size.top + inner.height * (1 - value / most);
  const areas = series.map(({ name }, i) => {
    const line = (values: number[]) => values.map((v, at) => `${round(x(at))},${round(y(v))}`);
    const lower = line(tops[i - 1] ?? labels.map(() => 0)).reverse();
    return `<polygon fill="${colourOf(i)}" points="${[...line(tops[i] ?? []), ...lower].join(' ')}"><title>${escapeHtml(name)}</title></polygon>`;
  });
  const grid = ticks.map(
    (tick) =>
      `<line x1="${size.left}" x2="${size.width - size.right}" y1="${round(y(tick))}" y2="${round(y(tick))}"/><text x="${size.left - 8}" y="${round(y(tick) + 4)}" text-anchor="end">${escapeHtml(words(tick))}</text>`,
  );
  const shown = labelsShown(labels);
  const below = shown.map(
    (at) =>
      `<text x="${round(x(at))}" y="${size.height - 20}" text-anchor="middle">${escapeHtml(labels[at] ?? '')}</text>`,
  );
  const step = inner.width / Math.max(1, count - 1);
  const tips = labels.map((label, at) => {
    const lines = series.map((s) => `${s.name}: ${words(s.values[at] ?? 0)}`).reverse();
    return `<rect x="${round(x(at) - step / 2)}" y="${size.top}" width="${round(step)}" height="${inner.height}"><title>${escapeHtml([label, ...lines, `together: ${words(totals[at] ?? 0)}`].join('\n'))}</title></rect>`;
  });
  return [
    `<figure><figcaption>${escapeHtml(title)}</figcaption>`,
    `<svg viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="${escapeHtml(title)}">`,
    `<g class="grid">${grid.join('')}</g>`,
    `<g>${areas.join('')}</g>`,
    `<g class="labels">${below.join('')}</g>`,
    `<g class="tips">${tips.join('')}</g>`,
    '</svg>',
    `<ul class="legend">${series.map((s, i) => `<li><i style="background:${colourOf(i)}"></i>${escapeHtml(s.name)}</li>`).join('')}</ul>`,
    '</figure>',
  ].join('\n');
}

/** Four to ten round values from 0 to one that is not below `most`. In bytes, round ones of their unit. */
export function ticksUpTo(most: number, base: 1024 | 10): number[] {
  if (most <= 0) return [0, 1];
  const unit = base === 1024 ? 1024 ** Math.floor(Math.log(most) / Math.log(1024) + 1e-9) : 1;
  const rough = most / unit / 5;
  const power = 10 ** Math.floor(Math.log10(rough) + 1e-9);
  const step = ([1, 2, 5, 10].find((f) => f * power >= rough * (1 - 1e-9)) ?? 10) * power * unit;
  const steps = Math.ceil(most / step - 1e-9);
  return Array.from({ length: steps + 1 }, (_, i) => i * step);
}

/** About ten of them, among them the first. */
function labelsShown(labels: string[]): number[] {
  const every = [1, 2, 3, 6, 12, 24, 60, 120].find((n) => labels.length / n <= 12) ?? 120;
  return labels.flatMap((_, at) => (at % every === 0 ? [at] : []));
}

function colourOf(index: number): string {
  return colours[index % colours.length] ?? '';
}

export function escapeHtml(text: string): string {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replaceAll(/[&<>"']/g, (c) => names[c] ?? c);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function sum(values: number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
