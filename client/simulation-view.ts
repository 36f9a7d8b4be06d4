import type { SourceMeasure } from '../policies/measure.ts';
import { formatBytes } from '../policies/progress.ts';
import type { SimulatedMonth, Simulation } from '../policies/simulate.ts';

/** A simulation as --json shows it. */
export interface SimulationView extends Simulation {
  from: string;
  years: number;
  /** What each source was taken for, and how that is known. */
  sources: ({ source: string } & SourceMeasure)[];
  /** Full restores of each source in a year, and the copy that they read. */
  restores: { perYear: number; copy: string };
}

export interface Sum {
  name: string;
  /** One for each month. */
  values: number[];
}

/** Bytes by tier, all copies together. */
export function bytesByTier({ months }: Pick<Simulation, 'months'>): Sum[] {
  const names = [...new Set(months.flatMap((m) => m.stored.map((s) => s.tier)))];
  return names.map((name) => ({
    name,
    values: months.map((m) => m.stored.filter((s) => s.tier === name).reduce((sum, s) => sum + s.bytes, 0)),
  }));
}

/** Bytes by copy and the tier there. */
export function bytesByPlace({ months }: Pick<Simulation, 'months'>): Sum[] {
  const places = months[0]?.stored ?? [];
  return places.map(({ copy, tier }, i) => ({
    name: `${copy}, ${tier}`,
    values: months.map((m) => m.stored[i]?.bytes ?? 0),
  }));
}

/** Dollars a month by what they are for; what costs nothing is left out. */
export function dollarsByKind({ months }: Pick<Simulation, 'months'>): Sum[] {
  const kinds = [
    ['keeping', 'storage'],
    ['leaving a tier early', 'early'],
    ['reading it back', 'retrieval'],
    ['taking it away over the network', 'egress'],
  ] as const;
  return kinds
    .map(([name, kind]) => ({ name, values: months.map((m) => m.dollars[kind]) }))
    .filter((s) => s.values.some((v) => v > 0));
}

const classes = ['yearly', 'monthly', 'weekly', 'daily', 'hourly', 'manual'] as const;

/** Recovery points by the highest class of each. */
export function pointsByClass({ months }: Pick<Simulation, 'months'>): Sum[] {
  return classes
    .map((name) => ({ name, values: months.map((m) => m.classes.find((c) => c.class === name)?.points ?? 0) }))
    .filter((s) => s.values.some((v) => v > 0));
}

/** Every month of up to two years, then the last of every twelve. */
export function monthsShown<T>(months: T[]): T[] {
  return months.length <= 24 ? months : months.filter((_, i) => i % 12 === 11 || i === months.length - 1);
}

export function dollarsOf({ dollars: { storage, early, retrieval, egress } }: SimulatedMonth): number {
  return storage + early + retrieval + egress;
}

export function formatDollars(dollars: number): string {
  const digits = dollars !== 0 && dollars < 10 ? 2 : 0;
  return `$${dollars.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}

export const simulationHead = ['end of', 'recovery points', 'stored', 'a month'];

/** A row of the table that people read. */
export function simulationRow(month: SimulatedMonth): string[] {
  const counts = pointsByClass({ months: [month] }).map((c) => `${c.values[0]} ${c.name}`);
  const places = bytesByPlace({ months: [month] }).filter((p) => (p.values[0] ?? 0) > 0);
  return [
    month.month,
    [`${month.points}`, ...counts].join('\n'),
    places.map((p) => `${p.name}: ${formatBytes(p.values[0] ?? 0)}`).join('\n'),
    formatDollars(dollarsOf(month)),
  ];
}
