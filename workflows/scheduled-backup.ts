import { executeChild, log, ParentClosePolicy, proxyActivities, setCurrentDetails } from '@temporalio/workflow';
import type { ScheduleActivities } from '../activities/schedule.ts';
import type { Due } from '../policies/calendar.ts';
import { queues } from '../policies/queues.ts';
import { backup } from './backup.ts';
import type { ScheduledBackupInput, ScheduledBackupResult } from './contracts.ts';
import { asJobFailure } from './failure.ts';
import { assertScheduledInput } from './inputs.ts';
import { patient } from './options.ts';

const { decideBackup } = proxyActivities<ScheduleActivities>({ ...patient, taskQueue: queues.coordination });

/**
 * What a schedule starts at every moment of its calendar. Temporal's schedule is the alarm clock only: what is due is
 * decided here, so that one backup of the highest level stands for all classes that fall together, and for all that
 * was missed. A moment at which nothing is due ends at once.
 */
export async function scheduledBackup(input: ScheduledBackupInput): Promise<ScheduledBackupResult> {
  const asked = assertScheduledInput(input);
  const { source } = asked;
  try {
    const { backup: wanted, due, lapsed } = await decideBackup(asked);
    for (const late of lapsed) log.warn('a backup was missed for too long and is let go', { source, ...late });
    setCurrentDetails(wordsOf(due, lapsed));
    if (wanted === null) return { source, due, lapsed, backup: null };
    const made = await executeChild(backup, {
      workflowId: `backup/${source}/${new Date().toISOString()}`,
      args: [{ source, level: wanted.level, classes: wanted.classes }],
      // Whoever cancels the one means the other.
      parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
      staticSummary: `Back up ${source} (${wanted.classes.join(', ')}; ${wanted.level})`,
    });
    return { source, due, lapsed, backup: made };
  } catch (error) {
    throw asJobFailure(error);
  }
}

function wordsOf(due: Due[], lapsed: Due[]): string {
  const line = ({ at, classes, level }: Due) => `- ${at}: ${classes.join(', ')} (${level})`;
  return [
    due.length === 0 ? 'Nothing is due now.' : 'This backup stands for what was due:',
    ...due.map(line),
    ...(lapsed.length === 0 ? [] : ['', 'Missed for too long, and let go:', ...lapsed.map(line)]),
  ].join('\n');
}
