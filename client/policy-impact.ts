import { isFailure } from '../policies/failure.ts';
import { measureSource } from '../policies/measure.ts';
import type { Policy } from '../policies/policy.ts';
import { type ChangedPoint, impactOf, type PolicyImpact, type SourceInput } from '../policies/policy-impact.ts';
import { asPromised, type Promised } from '../policies/promised.ts';
import { earliestOf } from '../policies/source-expiry.ts';
import type { Context } from './context.ts';
import { shortTime } from './point-view.ts';
import { formatDollars } from './simulation-view.ts';
import { table } from './table.ts';

/** Years that the cost is reckoned for: enough for the yearly class to show. */
const years = 5;
/** What is taken for true of sources without points, as in "policy simulate". */
const assumed = { fullBytes: 100 * 2 ** 30, changePerDay: 0.02, growthPerYear: 0.2, restoresPerYear: 4 };

/**
 * What the policy would do to the points that the catalog knows, by the stores' clocks; null when the catalog or a store
 * cannot be asked, which is told.
 *
 * @param before what was promised when a policy was last applied
 */
export async function impactHere(
  context: Context,
  policy: Policy,
  before: Promised | null,
): Promise<PolicyImpact | null> {
  try {
    const sources: (SourceInput & { measured: ReturnType<typeof measureSource>['values'] })[] = [];
    for (const { name } of policy.sources) sources.push(await inputOf(context, policy, name));
    const clocks = await Promise.all(policy.copies.map(async ({ name }) => (await context.store(name)).clock()));
    return impactOf({
      after: policy,
      before: before && asPromised(policy, before),
      sources,
      storeNow: earliestOf(clocks),
      measured: new Map(sources.map((s) => [s.source, s.measured])),
      years,
    });
  } catch (error) {
    const away = ['CatalogUnreachable', 'CatalogDiffers', 'SecretMissing', 'StoreUnreachable', 'StoreDenied'] as const;
    if (!isFailure(error, ...away, 'BucketMissing')) throw error;
    context.out.note(`! What becomes of the points that there are is not known: ${error.message}`);
    return null;
  }
}

async function inputOf(context: Context, policy: Policy, source: string) {
  const catalog = await context.catalog();
  const points = await catalog.points({ source });
  const decided = (await catalog.retention.anomalyDecisions(source)).map((d) => d.pointId);
  const measurable = points.map(({ backup, storedBytes }) => ({
    pointId: backup.id,
    parent: backup.parent,
    level: backup.level,
    capturedAt: backup.capturedAt,
    storedBytes,
  }));
  const measured = measureSource(measurable, assumed, policy.copies[0]?.name ?? '').values;
  return { source, points, marks: await catalog.retention.marks(source), decided, measured };
}

/** Paragraphs for people. */
export function renderImpact(impact: PolicyImpact, paint: Context['out']['paint']): string[] {
  const { isFirst, goes, stays, chains, lockConflicts, clock, cost } = impact;
  const rows = (points: ChangedPoint[]) =>
    points.map((p) => [
      p.pointId,
      p.classes.join(', '),
      shortTime(p.storedAt),
      p.goesAt === null ? 'stays' : `goes from ${shortTime(p.goesAt)}`,
      p.why.join('\n'),
    ]);
  const head = ['recovery point', 'class', 'stored', '', 'why'];
  const since = isFirst ? 'Nothing was applied before, so all that goes is named.' : '';
  const was = cost.before === null ? '' : ` instead of ${formatDollars(cost.before)}`;
  return [
    '',
    goes.length === 0
      ? `${paint('green', '✓')} No recovery point goes that would have stayed. ${since}`.trim()
      : `${paint('red', '-')} ${goes.length} recovery points go that would have stayed. ${since}`.trim(),
    ...(goes.length > 0 ? [table(head, rows(goes))] : []),
    ...(stays.length > 0
      ? [`${paint('green', '+')} ${stays.length} recovery points stay that would have gone.`, table(head, rows(stays))]
      : []),
    ...chains.map((c) => {
      const what =
        c.goes === c.points ? `goes with all ${c.points} points` : `is cut: ${c.goes} of its ${c.points} points go`;
      return `${paint('yellow', '!')} ${c.source}: the chain of ${c.full} ${what}.`;
    }),
    ...lockConflicts.map((text) => `${paint('yellow', '!')} ${text}.`),
    ...clock.map((c) => `${paint('yellow', '!')} ${clockInWords(c)}`),
    `It costs ${formatDollars(cost.after)} in ${cost.years} years${was}, by what is known of the sources ("backupctl policy simulate" tells more).`,
  ];
}

function clockInWords({ class: name, date, at, kind, timeZone, sources }: PolicyImpact['clock'][number]): string {
  const what =
    kind === 'missing'
      ? 'is left out, for the clock is set forward over it'
      : 'comes once, though the clock shows that time twice';
  return `${sources.join(', ')}: the ${name} backup of ${date} at ${at} (${timeZone}) ${what}. Another time of day avoids that.`;
}
