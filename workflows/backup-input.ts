import { ApplicationFailure } from '@temporalio/workflow';
import { z } from 'zod';
import { backupClass, level } from '../policies/recovery-point.ts';
import type { BackupInput, ScheduledBackupInput } from './contracts.ts';

/** Anything may come from the command line, from a schedule or from the Web UI. */
const schema = z.strictObject({
  source: z.string().trim().min(1),
  level: level.default('full'),
  classes: z.array(backupClass).min(1).default(['manual']),
});

const scheduledSchema = z.strictObject({ source: z.string().trim().min(1), ahead: z.boolean().default(false) });

/** The input with its defaults. Throws UsageInvalid: any other error would keep the workflow waiting for a new version. */
export function assertBackupInput(input: BackupInput): Required<BackupInput> {
  const { data, error } = schema.safeParse(input ?? {});
  if (data) return data;
  throw refused(
    error,
    `Give it as {"source": "NAME"}; "level" is one of ${level.options.join(', ')}, "classes" a list of ${backupClass.options.join(', ')}.`,
  );
}

export function assertScheduledInput(input: ScheduledBackupInput): Required<ScheduledBackupInput> {
  const { data, error } = scheduledSchema.safeParse(input ?? {});
  if (data) return data;
  throw refused(error, 'Give it as {"source": "NAME"}, with "ahead": true for what is due next.');
}

function refused({ issues }: z.ZodError, next: string): ApplicationFailure {
  const problems = issues.map((i) => `${i.path.join('.') || 'the input'}: ${i.message}`);
  return ApplicationFailure.nonRetryable(`The backup cannot be started: ${problems.join('; ')}.`, 'UsageInvalid', {
    next,
  });
}
