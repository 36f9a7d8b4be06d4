import { isDeepStrictEqual } from 'node:util';
import { type Client, ScheduleNotFoundError, ScheduleOverlapPolicy } from '@temporalio/client';
import { type Promised, promised } from '../policies/promised.ts';
import {
  type NamedSchedule,
  retentionScheduleId,
  type ScheduleChanges,
  type ScheduleDefinition,
} from '../policies/schedules.ts';

/** Where a schedule keeps what it was made from: the server gives times back in another form than it took them. */
const memoKey = 'definition';

/** Where the schedule that expires keeps what was promised when the policy was applied. */
const promisedKey = 'promised';

/** What was promised when a policy was last applied; null when none was, or by a version that kept nothing of it. */
export async function readPromised(client: Client): Promise<Promised | null> {
  try {
    const { action } = await client.schedule.getHandle(retentionScheduleId).describe();
    return promised.safeParse(action.memo?.[promisedKey]).data ?? null;
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return null;
    throw error;
  }
}

/** Writes down what is promised from now on. The schedule is as it was otherwise; repeating it changes nothing. */
export async function recordPromised(client: Client, promise: Promised): Promise<void> {
  const known = await readSchedule(client, retentionScheduleId);
  if (!known || isDeepStrictEqual(await readPromised(client), promise)) return;
  const { action, ...options } = optionsOf(known.id, known.definition);
  const memo = { ...action.memo, [promisedKey]: promise };
  await client.schedule
    .getHandle(retentionScheduleId)
    .update(({ state }) => ({ ...options, state, action: { ...action, memo } }));
}

/** Every schedule that a policy of ours has made, whatever its source. Others are left alone. */
export async function readSchedules(client: Client): Promise<NamedSchedule[]> {
  const found: NamedSchedule[] = [];
  for await (const { scheduleId } of client.schedule.list()) {
    const schedule = await readSchedule(client, scheduleId);
    if (schedule) found.push(schedule);
  }
  return found;
}

/** Those wanted are asked for by name, for a list lags behind what was just made. */
export async function readWanted(client: Client, wanted: NamedSchedule[]): Promise<NamedSchedule[]> {
  const listed = await readSchedules(client);
  const unlisted = wanted.filter((w) => listed.every((l) => l.id !== w.id));
  const named = await Promise.all(unlisted.map(({ id }) => readSchedule(client, id)));
  return [...listed, ...named.filter((n) => n !== null)];
}

async function readSchedule(client: Client, id: string): Promise<NamedSchedule | null> {
  try {
    const { action } = await client.schedule.getHandle(id).describe();
    const definition = action.memo?.[memoKey] as ScheduleDefinition | undefined;
    return definition ? { id, definition } : null;
  } catch (error) {
    // It was removed after it had been listed.
    if (error instanceof ScheduleNotFoundError) return null;
    throw error;
  }
}

/** Carries the changes out. Each by itself; repeating it changes nothing. A paused schedule stays paused. */
export async function applyChanges(client: Client, changes: ScheduleChanges): Promise<void> {
  for (const { id, definition } of changes.create) {
    await client.schedule.create({ scheduleId: id, ...optionsOf(id, definition) });
  }
  for (const { id, definition } of changes.update) {
    await client.schedule.getHandle(id).update(({ state }) => ({ ...optionsOf(id, definition), state }));
  }
  for (const { id } of changes.remove) await client.schedule.getHandle(id).delete();
}

const overlaps = { skip: ScheduleOverlapPolicy.SKIP, 'buffer-one': ScheduleOverlapPolicy.BUFFER_ONE } as const;

function optionsOf(id: string, definition: ScheduleDefinition) {
  const { workflowType, taskQueue, input, spec, overlap, catchUpWindowMs } = definition;
  return {
    spec,
    action: {
      type: 'startWorkflow' as const,
      workflowType,
      taskQueue,
      args: [input],
      workflowId: `scheduled/${id}`,
      memo: { [memoKey]: definition },
    },
    policies: { overlap: overlaps[overlap], catchupWindow: catchUpWindowMs },
  };
}
