import { CancellationScope, isCancellation, log, proxyActivities, setCurrentDetails } from '@temporalio/workflow';
import type { RepairActivities } from '../activities/repair.ts';
import type { RepairPlan, RepairPlanActivities } from '../activities/repair-plan.ts';
import type { RetentionActivities } from '../activities/retention.ts';
import type { PlannedCopy } from '../policies/backup-plan.ts';
import { queues } from '../policies/queues.ts';
import { backupJsonName } from '../policies/recovery-point.ts';
import { type Damage, partName, type RepairPart } from '../policies/repair.ts';
import type { JobState } from '../policies/search-attributes.ts';
import type { RepairInput, RepairOutcome, RepairResult } from './contracts.ts';
import { asJobFailure, messageOf } from './failure.ts';
import { assertRepairInput } from './inputs.ts';
import { createLabels } from './labels.ts';
import { long, patient, short } from './options.ts';

const coordination = proxyActivities<RepairPlanActivities>({ ...short, taskQueue: queues.coordination });
const catalog = proxyActivities<RepairPlanActivities>({ ...patient, taskQueue: queues.coordination });

/** Of keys and of problems, so that a result does not grow with what is damaged. */
const linesMax = 100;
/** Each finds at most a hundred objects: a history has an end, and what is left is told. */
const roundsMax = 200;

/**
 * Mends copies: reads each of them, whole, and puts every object that is damaged or missing again from a copy that has it
 * good. Nothing is overwritten: what is damaged is removed first, by the role that may, and only while another copy has it
 * good. What is locked or held stays, and is told. A description comes last.
 */
export async function repair(input: RepairInput): Promise<RepairResult> {
  const asked = assertRepairInput(input);
  try {
    return await mendAll(await coordination.planRepair(asked));
  } catch (error) {
    throw asJobFailure(error);
  }
}

async function mendAll(plan: RepairPlan): Promise<RepairResult> {
  const { source, what } = plan;
  const outcomes: RepairOutcome[] = [];
  const label = createLabels();
  const show = (status: JobState) => {
    label({ source, status });
    setCurrentDetails([`🔧 Mending ${what}`, ...outcomes.map(line)].join('\n\n'));
  };
  show('running');
  try {
    for (const { part, copies } of plan.parts) {
      const before = outcomes.length;
      const mended = await Promise.all(
        copies.map(async (to) => {
          const outcome = await mend(plan, part, to);
          outcomes.push(outcome);
          show('running');
          return outcome;
        }),
      );
      outcomes.splice(before, mended.length, ...mended);
    }
    show(outcomes.every((o) => o.problems.length === 0) ? 'succeeded' : 'partial');
  } catch (error) {
    show(isCancellation(error) ? 'cancelled' : 'failed');
    throw error;
  } finally {
    await CancellationScope.nonCancellable(() => catalog.recordRepair({ source, what, outcomes }));
  }
  return { source, outcomes };
}

async function mend({ host }: RepairPlan, part: RepairPart, to: PlannedCopy): Promise<RepairOutcome> {
  const { findDamage } = proxyActivities<RepairActivities>({ ...long, taskQueue: queues.transfer(host) });
  const outcome: RepairOutcome = {
    part,
    copy: to.name,
    state: 'whole',
    objects: 0,
    repaired: 0,
    keys: [],
    problems: [],
  };
  const problem = (text: string) => {
    if (outcome.problems.length < linesMax) outcome.problems.push(text);
  };
  let after: string | null = null;
  for (let round = 0; round === 0 || after !== null; round++) {
    if (round === roundsMax) {
      problem('There is more to mend: run it again.');
      break;
    }
    let found: Awaited<ReturnType<RepairActivities['findDamage']>>;
    try {
      found = await findDamage({ part, copy: to.name, ...(after === null ? {} : { after }) });
    } catch (error) {
      if (isCancellation(error)) throw error;
      log.warn('a copy could not be read', { part: partName(part), copy: to.name, error: messageOf(error) });
      problem(messageOf(error));
      return { ...outcome, state: 'unknown' };
    }
    outcome.objects += found.objects;
    after = found.next;
    const { put, problems } = await putAgain(host, part, to, found.damages);
    outcome.repaired += put.length;
    outcome.keys.push(...put.slice(0, linesMax - outcome.keys.length));
    for (const text of problems) problem(text);
  }
  outcome.state = outcome.problems.length > 0 ? 'damaged' : outcome.repaired > 0 ? 'repaired' : 'whole';
  return outcome;
}

/** Removes what is damaged and puts what can be had again. */
async function putAgain(
  host: string,
  part: RepairPart,
  to: PlannedCopy,
  damages: Damage[],
): Promise<{ put: string[]; problems: string[] }> {
  const { putObjectsAgain } = proxyActivities<RepairActivities>({ ...long, taskQueue: queues.transfer(host) });
  const { removeDamaged } = proxyActivities<RetentionActivities>({ ...long, taskQueue: queues.retention(host) });
  const problems = damages.filter((d) => d.from === null).map((d) => `${d.problem} No other copy has it good.`);
  let left = damages.filter((d) => d.from !== null);
  /** Takes those out that could not be dealt with. */
  const step = async (objects: Damage[], work: (keys: string[]) => Promise<{ key: string; reason: string }[]>) => {
    if (objects.length === 0) return;
    const keys = objects.map((d) => d.key);
    const refused = await work(keys).catch((error: unknown) => {
      if (isCancellation(error)) throw error;
      return keys.map((key) => ({ key, reason: messageOf(error) }));
    });
    for (const { key, reason } of refused) {
      const what = objects.find((d) => d.key === key)?.problem ?? key;
      log.warn('an object could not be mended', { key, copy: to.name, reason });
      problems.push(`${what} It could not be put again: ${reason}`);
    }
    left = left.filter((d) => refused.every((r) => r.key !== d.key));
  };
  const damaged = left.filter((d) => d.state === 'damaged');
  await step(damaged, (keys) => removeDamaged({ part, copy: to.name, keys }));
  // What is not whole must not be described: it would be taken for a point.
  const described = left.find((d) => part.kind === 'point' && d.key.endsWith(`/${backupJsonName}`));
  if (described && problems.length > 0) {
    left = left.filter((d) => d !== described);
    problems.push(`${described.problem} It comes when the rest is whole.`);
  }
  await step([...left], () => putObjectsAgain({ part, objects: left.map(({ key, from }) => ({ key, from })), to }));
  return { put: left.map((d) => d.key), problems };
}

function line({ part, copy, state, objects, repaired, problems }: RepairOutcome): string {
  const mark = problems.length > 0 ? '❌' : '✅';
  const words = `${state}, ${objects} objects read${repaired > 0 ? `, ${repaired} put again` : ''}`;
  return [`${mark} ${partName(part)} in ${copy}: ${words}`, ...problems].join(' · ');
}
