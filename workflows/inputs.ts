import { ApplicationFailure } from '@temporalio/workflow';
import { z } from 'zod';
import { moment } from '../policies/moment.ts';
import { backupClass, level } from '../policies/recovery-point.ts';
import type {
  BackupInput,
  RekeyInput,
  RekeyState,
  RekeyTarget,
  RepairInput,
  RestoreInput,
  RetentionInput,
  RetentionState,
  ScheduledBackupInput,
  SourceRekeyed,
  SourceRetention,
  WalArchiveInput,
} from './contracts.ts';

/** A schema for every field of the contract, and for no other. */
type Fields<T> = Record<keyof T, z.ZodType>;

/**
 * Anything may come from the command line, from a schedule or from the Web UI. What does not fit is refused with
 * UsageInvalid; an exception of JavaScript's would keep the workflow waiting for another version of its code.
 */

const name = z.string().trim().min(1);
/** What an earlier run of ours has passed on. */
const isObject = (value: unknown) => typeof value === 'object' && value !== null;

const backupInput = z.strictObject({
  source: name,
  level: level.default('full'),
  classes: z.array(backupClass).min(1).default(['manual']),
  anytime: z.boolean().default(false),
} satisfies Fields<BackupInput>);

const scheduledInput = z.strictObject({
  source: name,
  ahead: z.boolean().default(false),
} satisfies Fields<ScheduledBackupInput>);

const restoreInput = z.strictObject({
  source: name,
  pointId: name.optional(),
  from: name.optional(),
  into: z.union([z.strictObject({ directory: name }), z.strictObject({ databaseUri: name })]),
  paths: z.array(z.string()).optional(),
  tablespaces: z.record(z.string(), z.string()).optional(),
  to: moment.optional(),
  timeline: z.int().min(1).optional(),
  host: name.optional(),
  operator: name,
  reason: name,
} satisfies Fields<RestoreInput>);

const repairInput = z
  .strictObject({
    pointId: name.optional(),
    walOf: name.optional(),
    copy: name.optional(),
  } satisfies Fields<RepairInput>)
  .refine(({ pointId, walOf }) => (pointId === undefined) !== (walOf === undefined), {
    message: 'either a point or the source of WAL is to be named',
  });

const retentionInput = z
  .strictObject({
    source: name.optional(),
    operator: name.optional(),
    reason: name.optional(),
    state: z
      .strictObject({
        toDo: z.array(name).nullable(),
        removed: z.array(name),
        refused: z.array(z.strictObject({ pointId: name, why: z.string() })),
        sources: z.array(z.custom<SourceRetention>(isObject)),
        failure: z
          .strictObject({ type: z.string().nullable(), message: z.string(), details: z.array(z.unknown()) })
          .nullable(),
      } satisfies Fields<RetentionState>)
      .optional(),
    historyBudget: z.int().min(1).default(2_000),
  } satisfies Fields<RetentionInput>)
  .refine(({ operator, reason }) => (operator === undefined) === (reason === undefined), {
    message: 'operator and reason go together',
  });

const walArchiveInput = z.strictObject({
  source: name,
  roundMs: z.int().min(1_000).default(3_600_000),
  patienceMs: z.int().min(0).default(60_000),
  historyBudget: z.int().min(1).default(2_000),
  state: z
    .strictObject({
      streaming: z.enum(['well', 'behind', 'failing']),
      error: z.string().nullable(),
      copies: z.array(z.strictObject({ copy: name, error: z.string() })),
    })
    .default({ streaming: 'failing', error: null, copies: [] }),
} satisfies Fields<WalArchiveInput>);

const rekeyTarget = z.strictObject({
  source: name,
  points: z.array(name).min(1).optional(),
  host: name.optional(),
} satisfies Fields<RekeyTarget>);

const rekeyInput = z.strictObject({
  targets: z.array(rekeyTarget).min(1),
  copies: z.array(name).min(1).optional(),
  revoke: z.boolean().optional(),
  operator: name,
  reason: name,
  state: z
    .strictObject({
      sources: z.array(z.custom<SourceRekeyed>(isObject)),
      target: z.int().min(0),
      step: z.enum(['points', 'wal']),
      after: z.string().nullable(),
    } satisfies Fields<RekeyState>)
    .default({ sources: [], target: 0, step: 'points', after: null }),
  historyBudget: z.int().min(1).default(2_000),
} satisfies Fields<RekeyInput>);

/** The input of a backup, with its defaults. */
export function assertBackupInput(input: BackupInput): Required<BackupInput> {
  const classes = backupClass.options.join(', ');
  return assertFits(
    backupInput,
    input,
    `Give it as {"source": "NAME"}; "level" is one of ${level.options.join(', ')}, "classes" a list of ${classes}.`,
  );
}

export function assertScheduledInput(input: ScheduledBackupInput): Required<ScheduledBackupInput> {
  return assertFits(scheduledInput, input, 'Give it as {"source": "NAME"}, with "ahead": true for what is due next.');
}

export function assertRestoreInput(input: RestoreInput): RestoreInput {
  return assertFits(
    restoreInput,
    input,
    'Give it as {"source": "NAME", "into": {"directory": "/PATH"}, "operator": "NAME", "reason": "TEXT"}, or let backupctl restore do it.',
  );
}

export function assertRepairInput(input: RepairInput): RepairInput {
  return assertFits(
    repairInput,
    input,
    'Give it as {"pointId": "ID"} or {"walOf": "SOURCE"}, with "copy": "NAME" for that copy only.',
  );
}

export function assertRetentionInput(
  input: RetentionInput,
): RetentionInput & Required<Pick<RetentionInput, 'historyBudget'>> {
  return assertFits(
    retentionInput,
    input,
    'Give it as {"source": "NAME", "operator": "NAME", "reason": "TEXT"}, or as {} for all sources.',
  );
}

export function assertWalArchiveInput(input: WalArchiveInput): Required<WalArchiveInput> {
  return assertFits(walArchiveInput, input, 'Give it as {"source": "NAME"}, or let backupctl policy apply start it.');
}

export function assertRekeyInput(
  input: RekeyInput,
): RekeyInput & Required<Pick<RekeyInput, 'state' | 'historyBudget'>> {
  return assertFits(
    rekeyInput,
    input,
    'Give it as {"targets": [{"source": "NAME"}], "operator": "NAME", "reason": "TEXT"}, with "revoke": true to take former keys away.',
  );
}

function assertFits<T>(schema: z.ZodType<T>, input: unknown, next: string): T {
  const { data, error } = schema.safeParse(input ?? {});
  if (error === undefined) return data;
  const problems = error.issues.map((i) => `${i.path.join('.') || 'the input'}: ${i.message}`);
  throw ApplicationFailure.nonRetryable(`The input does not fit: ${problems.join('; ')}.`, 'UsageInvalid', { next });
}
