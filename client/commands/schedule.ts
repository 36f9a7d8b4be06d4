import { ScheduleNotFoundError } from '@temporalio/client';
import { nextDue } from '../../policies/calendar.ts';
import { Failure } from '../../policies/failure.ts';
import { queues } from '../../policies/queues.ts';
import { backupScheduleId } from '../../policies/schedules.ts';
import type { ScheduledBackupInput } from '../../workflows/contracts.ts';
import type { Context } from '../context.ts';
import { sourceNamed } from '../names.ts';
import { namedPerson } from '../person.ts';
import { shortTime } from '../point-view.ts';
import { table } from '../table.ts';

interface ScheduleState {
  source: string;
  /** Null: the policy wants none. */
  next: { at: string; classes: string[]; level: string } | null;
  /** `absent`: it was not applied yet. */
  state: 'on' | 'paused' | 'absent' | 'none';
  note: string;
  lastStartedAt: string | null;
}

export async function scheduleList(context: Context): Promise<number | undefined> {
  const policy = await context.policy();
  const client = await context.temporal();
  const now = new Date().toISOString();
  const schedules = await Promise.all(
    policy.sources.map(async ({ name, calendar }): Promise<ScheduleState> => {
      const next = nextDue(calendar ?? policy.calendar, now);
      try {
        const { state, info } = await client.schedule.getHandle(backupScheduleId(name)).describe();
        return {
          source: name,
          next,
          state: state.paused ? 'paused' : 'on',
          note: state.note ?? '',
          lastStartedAt: info.recentActions.at(-1)?.takenAt.toISOString() ?? null,
        };
      } catch (error) {
        if (!(error instanceof ScheduleNotFoundError)) throw error;
        return { source: name, next, state: next ? 'absent' : 'none', note: '', lastStartedAt: null };
      }
    }),
  );
  context.out.result({ schedules }, () => {
    if (schedules.length === 0) return 'The policy has no sources yet.';
    const rows = schedules.map((s) => [
      s.source,
      s.next ? `${shortTime(s.next.at)}\n${s.next.classes.join(', ')} (${s.next.level})` : 'never',
      s.note === '' ? s.state : `${s.state}: ${s.note}`,
      s.lastStartedAt ? shortTime(s.lastStartedAt) : 'never',
    ]);
    const absent = schedules.some((s) => s.state === 'absent');
    const hint = absent ? '\nThose that are absent are made by: backupctl policy apply' : '';
    return table(['source', 'next backup', 'schedule', 'last woken'], rows) + hint;
  });
  return undefined;
}

export interface SwitchOptions {
  source: string;
  action: 'pause' | 'resume';
  operator?: string;
  reason?: string;
}

/** Pauses or resumes a source's schedule; who did so and why stays with it. */
export async function scheduleSwitch(context: Context, options: SwitchOptions): Promise<number | undefined> {
  const { action } = options;
  const by = namedPerson(options, `backupctl schedule ${action} ${options.source}`);
  const { name } = sourceNamed(await context.policy(), options.source);
  const client = await context.temporal();
  const handle = client.schedule.getHandle(backupScheduleId(name));
  const note = `${by.operator}: ${by.reason}`;
  try {
    await (action === 'pause' ? handle.pause(note) : handle.unpause(note));
  } catch (error) {
    if (!(error instanceof ScheduleNotFoundError)) throw error;
    throw new Failure('SourceUnknown', `There is no schedule for ${name} yet.`, {
      next: 'Run "backupctl policy apply" first.',
      cause: error,
    });
  }
  const words =
    action === 'pause' ? 'No backup of it starts by itself until it is resumed.' : 'It goes by its calendar again.';
  context.out.result({ source: name, action, ...by }, () => `${context.out.paint('green', '✓')} ${name}: ${words}`);
  return undefined;
}

/** Starts now what is due next; the schedule itself stays as it is. */
export async function scheduleTrigger(context: Context, { source }: { source: string }): Promise<number | undefined> {
  const { name } = sourceNamed(await context.policy(), source);
  const client = await context.temporal();
  const input: ScheduledBackupInput = { source: name, ahead: true };
  const { workflowId, firstExecutionRunId } = await client.workflow.start('scheduledBackup', {
    workflowId: `scheduled/${backupScheduleId(name)}/${new Date().toISOString()}`,
    taskQueue: queues.coordination,
    args: [input],
    staticSummary: `Back up ${name} ahead of its calendar`,
  });
  context.out.result(
    { workflowId, runId: firstExecutionRunId },
    () => `Started ${workflowId}. "backupctl status" shows how it gets on.`,
  );
  return undefined;
}
