import { formatBytes } from '../policies/progress.ts';
import { escapeHtml, stackedChart } from './chart.ts';
import {
  bytesByPlace,
  bytesByTier,
  dollarsByKind,
  formatDollars,
  monthsShown,
  pointsByClass,
  type SimulationView,
  simulationHead,
  simulationRow,
} from './simulation-view.ts';

const style = `
:root { color-scheme: light dark; --ink: #1d2329; --soft: #5b6770; --line: #d5dbe0; --paper: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ed; --soft: #9aa7b1; --line: #3a444c; --paper: #14191d; } }
body { margin: 2rem auto; max-width: 1000px; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
h1 { font-size: 1.5rem; margin-bottom: 0; }
h2 { font-size: 1.1rem; margin-top: 2.5rem; }
p { color: var(--soft); margin-top: .25rem; }
figure { margin: 2rem 0; }
figcaption { font-weight: 600; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--soft); }
.grid line { stroke: var(--line); }
.tips rect { fill: transparent; }
.tips rect:hover { fill: var(--ink); fill-opacity: .1; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; padding: 0 0 0 84px; margin: 0; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 2px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); white-space: pre-line; }
`;

/** The simulation as one HTML file that needs nothing else: pictures, what was taken for true, and the numbers. */
export function simulationPage(view: SimulationView): string {
  const { months, sources, from, years, dollars, restores } = view;
  const labels = months.map((m) => m.month);
  const chart = { labels };
  const parts = [
    `<h1>What the policy will keep, and what it costs</h1>`,
    `<p>${escapeHtml(
      `${years} ${years === 1 ? 'year' : 'years'} from ${from.slice(0, 10)}: ${formatDollars(dollars)} in all. Every backup is taken to succeed; ` +
        `${restores.perYear} full restores of each source in a year read from ${restores.copy}.`,
    )}</p>`,
    stackedChart({
      ...chart,
      title: 'Stored bytes by tier, all copies together',
      series: bytesByTier(view),
      words: formatBytes,
      base: 1024,
    }),
    stackedChart({
      ...chart,
      title: 'Stored bytes by copy',
      series: bytesByPlace(view),
      words: formatBytes,
      base: 1024,
    }),
    stackedChart({ ...chart, title: 'Cost a month', series: dollarsByKind(view), words: formatDollars, base: 10 }),
    stackedChart({
      ...chart,
      title: 'Recovery points to restore from, by class',
      series: pointsByClass(view),
      words: (n) => `${Math.round(n * 100) / 100}`,
      base: 10,
    }),
    `<h2>What the sources are taken for</h2>`,
    htmlTable(
      ['source', 'a full backup', 'changes', 'grows'],
      sources.map(({ source, basis }) => [source, basis.fullBytes, basis.changePerDay, basis.growthPerYear]),
    ),
    `<h2>The numbers</h2>`,
    htmlTable(simulationHead, monthsShown(months).map(simulationRow)),
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>What the policy will keep</title>
<style>${style}</style>
</head>
<body>
${parts.join('\n')}
</body>
</html>
`;
}

function htmlTable(head: string[], rows: string[][]): string {
  const line = (cells: string[], tag: 'th' | 'td') =>
    `<tr>${cells.map((c) => `<${tag}>${escapeHtml(c)}</${tag}>`).join('')}</tr>`;
  return `<table>\n${[line(head, 'th'), ...rows.map((r) => line(r, 'td'))].join('\n')}\n</table>`;
}
