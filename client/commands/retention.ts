import type { Reading } from '../../engine/catalog/index.ts';
import { durationSeconds } from '../../policies/duration.ts';
import { Failure } from '../../policies/failure.ts';
import { formatBytes } from '../../policies/progress.ts';
import { queues } from '../../policies/queues.ts';
import type { Reason } from '../../policies/retention.ts';
import {
  earliestOf,
  expiryStoppedKey,
  judgeSource,
  type Readers,
  readersByPoint,
} from '../../policies/source-expiry.ts';
import { lsnOf } from '../../policies/wal.ts';
import { walNeededFrom } from '../../policies/wal-expiry.ts';
import type { RetentionInput, RetentionResult, SourceRetention } from '../../workflows/contracts.ts';
import type { Context } from '../context.ts';
import { follow, noteMissingWorkers } from '../follow.ts';
import { sourceNamed } from '../names.ts';
import { namedPerson } from '../person.ts';
import { shortTime } from '../point-view.ts';
import { table } from '../table.ts';
import { isOpen } from '../temporal.ts';

interface PlannedPoint {
  id: string;
  level: string;
  classes: string[];
  /** By the clock of the first store that got it. */
  storedAt: string;
  stays: boolean;
  reasons: Reason[];
  /** Found to go then; null when it stays, or the next run finds it first. */
  markedAt: string | null;
  /** When its grace is over. */
  goesAt: string | null;
}

interface SourcePlan {
  source: string;
  /** Now, by the stores' clocks. */
  storeNow: string;
  /** Why nothing goes until a person has decided. */
  stopped: string | null;
  points: PlannedPoint[];
  /** Of a cluster: the WAL that nothing needs. */
  wal: PlannedWal | null;
}

interface PlannedWal {
  /** From here on it is needed; null: nothing is known to be needless. */
  neededFrom: string | null;
  /** What may go, once it has been found so for the time of grace. */
  copies: { copy: string; ranges: number; bytes: number }[];
}

/** What a run would find now: of each point whether it stays or goes, and why. Changes nothing. */
export async function retentionPlan(context: Context, { source }: { source?: string }): Promise<number | undefined> {
  const policy = await context.policy();
  const sources = source === undefined ? policy.sources : [sourceNamed(policy, source)];
  const clocks = await Promise.all(policy.copies.map(async ({ name }) => (await context.store(name)).clock()));
  const plans: SourcePlan[] = [];
  for (const { name } of sources) plans.push(await planOf(context, name, earliestOf(clocks)));
  context.out.result({ sources: plans }, () => plans.map((p) => render(p, context.out.paint)).join('\n\n'));
  return undefined;
}

async function planOf(context: Context, source: string, storeNow: string): Promise<SourcePlan> {
  const policy = await context.policy();
  const catalog = await context.catalog();
  const records = await catalog.points({ source });
  const marks = await catalog.retention.marks(source);
  const decided = (await catalog.retention.anomalyDecisions(source)).map((d) => d.pointId);
  const readers = await readersOf(context, source);
  const judged = judgeSource({ policy, source, points: records, storeNow, marks, decided, readers });
  const { points, verdicts, stopped } = judged;
  const graceMs = durationSeconds(policy.retention.grace) * 1000;
  const neededFrom = walNeededFrom(records, { points, verdicts }, policy, storeNow);
  return {
    source,
    storeNow,
    stopped,
    wal: sourceNamed(policy, source).kind === 'postgres-physical' ? await walPlan(context, source, neededFrom) : null,
    points: verdicts.map(({ pointId, stays, reasons }) => {
      const markedAt = stays ? null : (marks.find((m) => m.pointId === pointId)?.markedAt ?? null);
      return {
        id: pointId,
        level: records.find((r) => r.backup.id === pointId)?.backup.level ?? '',
        classes: points.find((p) => p.pointId === pointId)?.classes ?? [],
        storedAt: points.find((p) => p.pointId === pointId)?.storedAt ?? '',
        stays,
        reasons,
        markedAt,
        goesAt: stays ? null : new Date(Date.parse(markedAt ?? storeNow) + graceMs).toISOString(),
      };
    }),
  };
}

/** Restores under way. Temporal knows which of them still run, and is asked only where there may be some. */
async function readersOf(context: Context, source: string): Promise<Readers> {
  const underWay: Reading[] = [];
  for (const reading of await (await context.catalog()).retention.readings(source)) {
    if (await isOpen(await context.temporal(), reading.workflowId)) underWay.push(reading);
  }
  return readersByPoint(underWay);
}

async function walPlan(context: Context, source: string, neededFrom: string | null): Promise<PlannedWal> {
  const policy = await context.policy();
  const { listWal } = await import('../../engine/sources/wal/index.ts');
  const copies: PlannedWal['copies'] = [];
  for (const { name } of policy.copies) {
    const { ranges } = await listWal({ store: await context.store(name), source, trusted: policy.keys.trusted });
    const before = neededFrom === null ? 0n : lsnOf(neededFrom);
    const going = ranges.filter((r) => r.end <= before);
    copies.push({ copy: name, ranges: going.length, bytes: going.reduce((sum, r) => sum + r.bytes, 0) });
  }
  return { neededFrom, copies };
}

function walWords({ neededFrom, copies }: PlannedWal): string {
  if (neededFrom === null) return 'WAL: all of it stays, for no recovery point stays that it could be needed by.';
  const going = copies.map((c) => `${formatBytes(c.bytes)} in ${c.copy}`).join(', ');
  return `WAL: needed from ${neededFrom} on; what lies before may go, after the time of grace: ${going}`;
}

function render({ source, storeNow, stopped, points, wal }: SourcePlan, paint: Context['out']['paint']): string {
  const going = points.filter((p) => !p.stays).length;
  const head = `${paint('bold', source)}: ${points.length - going} stay, ${going} may go (by the stores' clocks it is ${shortTime(storeNow)})`;
  const stop = `${paint('red', 'Expiry is stopped')}: ${stopped}\nOnce that is in order: backupctl retention resume ${source} --operator NAME --reason TEXT`;
  if (points.length === 0) return head;
  const rows = points.map((p) => [
    p.id,
    `${p.classes.join(', ')}\n${p.level}`,
    shortTime(p.storedAt),
    p.stays ? paint('green', 'stays') : `${paint('yellow', 'goes')}\nfrom ${shortTime(p.goesAt ?? '')}`,
    p.reasons.map((r) => r.text).join('\n'),
  ]);
  return [
    head,
    ...(stopped === null ? [] : [stop]),
    table(['recovery point', 'class', 'stored', '', 'why'], rows),
    ...(wal ? [walWords(wal)] : []),
  ].join('\n');
}

export interface RetentionRunOptions {
  source?: string;
  operator?: string;
  reason?: string;
  wait: boolean;
}

/** Starts now what the schedule starts each day. */
export async function retentionRun(context: Context, options: RetentionRunOptions): Promise<number | undefined> {
  const person = namedPerson(options, 'backupctl retention run');
  const policy = await context.policy();
  const sources = options.source === undefined ? policy.sources : [sourceNamed(policy, options.source)];
  const input: RetentionInput = { ...person, ...(options.source === undefined ? {} : { source: options.source }) };
  const client = await context.temporal();
  const workflowId = `retention/${options.source ?? 'all'}/${new Date().toISOString()}`;
  const handle = await client.workflow.start('retention', {
    workflowId,
    taskQueue: queues.coordination,
    args: [input],
    staticSummary: `Expire ${options.source ?? 'all sources'} for ${person.operator}: ${person.reason}`.slice(0, 200),
  });
  await noteMissingWorkers(context, client, [...new Set(sources.map((s) => queues.retention(s.host)))]);
  const started = { workflowId, runId: handle.firstExecutionRunId };
  const { out } = context;
  if (!options.wait) {
    out.result(started, () => `Started ${workflowId}. "backupctl retention history" shows what has gone.`);
    return undefined;
  }
  const result = await follow<RetentionResult>(context, { started, line: async () => 'looking for what may go' });
  out.result({ ...started, ...result }, () =>
    result.sources.length === 0
      ? 'The policy has no sources yet.'
      : table(
          ['source', 'stay', 'in their grace', 'removed', 'refused'],
          result.sources.map((s) => [
            s.source,
            String(s.stays),
            String(s.waiting),
            s.stopped === null ? removedWords(s) : `${out.paint('red', 'stopped')}: ${s.stopped}`,
            [
              ...s.refused.map((r) => `${r.pointId}: ${r.why}`),
              ...moreWords(s.moreRefused),
              ...(s.wal?.refused ? [`WAL: ${s.wal.refused}`] : []),
            ].join('\n'),
          ]),
        ),
  );
  return undefined;
}

const moreWords = (more: number) => (more > 0 ? [`… and ${more} more`] : []);

function removedWords({ removed, moreRemoved, wal }: SourceRetention): string {
  const gone = wal && wal.removed > 0 ? [`${formatBytes(wal.bytes)} of WAL`] : [];
  return [...removed, ...moreWords(moreRemoved), ...gone].join('\n') || 'nothing';
}

export interface ResumeOptions {
  source: string;
  operator?: string;
  reason?: string;
}

/** A person has looked: what was suddenly different is in order, and expiry of the source goes on. */
export async function retentionResume(context: Context, options: ResumeOptions): Promise<number | undefined> {
  const person = namedPerson(options, `backupctl retention resume ${options.source}`);
  const policy = await context.policy();
  const { name: source } = sourceNamed(policy, options.source);
  const catalog = await context.catalog();
  const points = await catalog.points({ source });
  const decided = (await catalog.retention.anomalyDecisions(source)).map((d) => d.pointId);
  const storeNow = new Date().toISOString();
  const { anomalies } = judgeSource({ policy, source, points, storeNow, marks: [], decided });
  const open = (await catalog.incidents({ open: true })).filter((i) => i.key === expiryStoppedKey(source));
  if (anomalies.length === 0 && open.length === 0) {
    throw new Failure('UsageInvalid', `Expiry of ${source} is not stopped.`, {
      next: `"backupctl retention plan ${source}" shows what stays and why.`,
    });
  }
  for (const { pointId } of anomalies) await catalog.retention.decideAnomaly({ pointId, source, ...person });
  for (const { id } of open) await catalog.resolveIncident(id);
  const { out } = context;
  out.result({ source, ...person, decided: anomalies }, () =>
    [
      ...anomalies.map((a) => `${out.paint('green', '✓')} ${a.pointId} is in order (${a.reasons.join(', ')}).`),
      `Expiry of ${source} goes on with the next run.`,
    ].join('\n'),
  );
  return undefined;
}

/** What was removed, when, why, and who had it removed; the newest first. */
export async function retentionHistory(
  context: Context,
  { source, limit }: { source?: string; limit: number },
): Promise<number | undefined> {
  if (source !== undefined) sourceNamed(await context.policy(), source);
  const catalog = await context.catalog();
  const removals = await catalog.retention.removals({ limit, ...(source === undefined ? {} : { source }) });
  context.out.result({ removals }, () =>
    removals.length === 0
      ? 'Nothing was removed yet.'
      : table(
          ['recovery point', 'when', 'what became of it', 'why it may go', 'by'],
          removals.map((r) => [
            r.pointId,
            shortTime(r.endedAt ?? r.begunAt),
            r.outcome === null ? 'begun; the next run goes on' : `${r.outcome}${r.note === null ? '' : `:\n${r.note}`}`,
            r.reasons.join('\n'),
            r.by,
          ]),
        ),
  );
  return undefined;
}
