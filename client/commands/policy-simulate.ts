import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Failure, isFailure } from '../../policies/failure.ts';
import { type Assumptions, type MeasurablePoint, measureSource } from '../../policies/measure.ts';
import { simulate } from '../../policies/simulate.ts';
import { simulationInput } from '../../policies/simulation-input.ts';
import type { Context } from '../context.ts';
import { simulationPage } from '../simulation-page.ts';
import { formatDollars, monthsShown, type SimulationView, simulationHead, simulationRow } from '../simulation-view.ts';
import { table } from '../table.ts';

export interface SimulateOptions {
  years: number;
  /** YYYY-MM-DD or ISO-8601; default: now. */
  from?: string;
  /** Also write the page to this file. */
  html?: string;
  /** What is taken for true of sources without points. */
  gib: number;
  /** Percent. */
  change: number;
  growth: number;
  /** Full restores of each source in a year. */
  restores: number;
}

/** What the policy will keep, where, and at what cost: nothing is run, and nothing but the page is written. */
export async function policySimulate(context: Context, options: SimulateOptions): Promise<number | undefined> {
  const policy = await context.policy();
  const from = startOf(options.from);
  const assumed: Assumptions = {
    fullBytes: options.gib * 2 ** 30,
    changePerDay: options.change / 100,
    growthPerYear: options.growth / 100,
    restoresPerYear: options.restores,
  };
  const copy = policy.copies[0]?.name ?? '';
  const known = await knownPoints(context);
  const sources = policy.sources.map(({ name: source }) => ({
    source,
    ...measureSource(known.get(source) ?? [], assumed, copy),
  }));
  const measured = new Map(sources.map((s) => [s.source, s.values]));
  const { years } = options;
  const simulation = simulate(simulationInput(policy, measured, { from, years }));
  const view: SimulationView = { from, years, sources, restores: { perYear: options.restores, copy }, ...simulation };
  if (options.html !== undefined) await writePage(path.resolve(context.cwd, options.html), simulationPage(view));
  context.out.result(view, () => render(view, options.html));
  return undefined;
}

/** By source. Without a catalog everything is assumed: a policy can be simulated before anything runs. */
async function knownPoints(context: Context): Promise<Map<string, MeasurablePoint[]>> {
  try {
    const points = (await (await context.catalog()).points()).map(({ backup, storedBytes }) => ({
      source: backup.source.name,
      pointId: backup.id,
      parent: backup.parent,
      level: backup.level,
      capturedAt: backup.capturedAt,
      storedBytes,
    }));
    return Map.groupBy(points, (p) => p.source);
  } catch (error) {
    if (!isFailure(error, 'CatalogUnreachable', 'CatalogDiffers', 'SecretMissing')) throw error;
    context.out.note(`! All sizes are assumed: ${error.message}`);
    return new Map();
  }
}

function startOf(given: string | undefined): string {
  const at = given === undefined ? new Date() : new Date(given);
  if (!Number.isNaN(at.getTime())) return at.toISOString();
  throw new Failure('UsageInvalid', `"${given}" is no date.`, {
    next: 'Write it as backupctl policy simulate --from 2026-01-01.',
  });
}

async function writePage(file: string, html: string): Promise<void> {
  try {
    await writeFile(file, html);
  } catch (error) {
    throw new Failure(
      'UsageInvalid',
      `The page cannot be written to ${file} (${(error as NodeJS.ErrnoException).code}).`,
      {
        next: 'Give backupctl policy simulate --html a file in a folder that is there.',
        cause: error,
      },
    );
  }
}

function render(view: SimulationView, html: string | undefined): string {
  const { sources, months, dollars, years, restores } = view;
  if (sources.length === 0) return 'The policy has no sources yet.';
  return [
    table(
      ['source', 'a full backup', 'changes', 'grows'],
      sources.map(({ source, basis }) => [source, basis.fullBytes, basis.changePerDay, basis.growthPerYear]),
    ),
    table(simulationHead, monthsShown(months).map(simulationRow)),
    `${formatDollars(dollars)} in ${years} ${years === 1 ? 'year' : 'years'}, with ${restores.perYear} full restores of each source a year, from ${restores.copy}.`,
    ...(html === undefined ? [] : [`The pictures are in ${html}.`]),
  ].join('\n');
}
