/**
 * Every way in which this system can fail, declared once: whether trying again can help, and the exit code that
 * `backupctl` ends with. Activities map these to Temporal's ApplicationFailure in one place (activities/failure.ts).
 */
export const failureTypes = {
  // what was asked for
  PolicyInvalid: { retryable: false, exitCode: 2 },
  UsageInvalid: { retryable: false, exitCode: 2 },
  NotHumanTriggered: { retryable: false, exitCode: 2 },
  SecretMissing: { retryable: false, exitCode: 2 },
  SourceUnknown: { retryable: false, exitCode: 3 },
  CopyUnknown: { retryable: false, exitCode: 3 },
  PointUnknown: { retryable: false, exitCode: 3 },
  // sources
  SourceUnreachable: { retryable: true, exitCode: 4 },
  SourceAuthentication: { retryable: false, exitCode: 4 },
  SourceMissing: { retryable: false, exitCode: 4 },
  SourceUnreadable: { retryable: false, exitCode: 4 },
  SourceChanged: { retryable: true, exitCode: 4 },
  SourceFailed: { retryable: true, exitCode: 4 },
  SourceDamaged: { retryable: false, exitCode: 4 },
  ClientToolMissing: { retryable: false, exitCode: 4 },
  ServerTooNew: { retryable: false, exitCode: 4 },
  ServerTooOld: { retryable: false, exitCode: 4 },
  HookFailed: { retryable: false, exitCode: 4 },
  // restore targets
  TargetNotEmpty: { retryable: false, exitCode: 4 },
  TargetUnusable: { retryable: false, exitCode: 4 },
  // stores
  StoreUnreachable: { retryable: true, exitCode: 5 },
  StoreDenied: { retryable: false, exitCode: 5 },
  BucketMissing: { retryable: false, exitCode: 5 },
  StoreFull: { retryable: true, exitCode: 5 },
  ObjectExists: { retryable: false, exitCode: 5 },
  ObjectMissing: { retryable: false, exitCode: 5 },
  CapabilityMissing: { retryable: false, exitCode: 5 },
  ChecksumMismatch: { retryable: true, exitCode: 5 },
  StagingFull: { retryable: true, exitCode: 5 },
  DiskFailed: { retryable: true, exitCode: 5 },
  // the sealed format
  Corrupt: { retryable: false, exitCode: 6 },
  KeyMissing: { retryable: false, exitCode: 6 },
  KeyWrong: { retryable: false, exitCode: 6 },
  SignatureInvalid: { retryable: false, exitCode: 6 },
  FormatUnsupported: { retryable: false, exitCode: 6 },
  ChainBroken: { retryable: false, exitCode: 6 },
  // validation
  ValidationFailed: { retryable: false, exitCode: 7 },
  ValidationTimedOut: { retryable: false, exitCode: 7 },
  // the coordinator's own services
  CatalogUnreachable: { retryable: true, exitCode: 8 },
  CatalogDiffers: { retryable: false, exitCode: 8 },
  TemporalUnreachable: { retryable: true, exitCode: 8 },
  NotificationFailed: { retryable: true, exitCode: 8 },
  WorkerMissing: { retryable: true, exitCode: 8 },
  StepTimedOut: { retryable: true, exitCode: 8 },
  // the end of a job that stands, but not as promised
  RuleBreached: { retryable: false, exitCode: 9 },
  Interrupted: { retryable: false, exitCode: 130 },
} as const satisfies Record<string, { retryable: boolean; exitCode: number }>;

export type FailureType = keyof typeof failureTypes;

export interface FailureOptions {
  /** What the reader should do next, one imperative sentence. */
  next: string;
  cause?: unknown;
  /** Small, secret-free facts for programs: names, sizes, ids. */
  details?: Record<string, string | number | boolean | null>;
}

/** A failure that names the thing, the reason and the next step. Its message never carries a secret. */
export class Failure extends Error {
  readonly type: FailureType;
  readonly next: string;
  readonly details: Record<string, string | number | boolean | null>;

  constructor(type: FailureType, message: string, options: FailureOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'Failure';
    this.type = type;
    this.next = options.next;
    this.details = options.details ?? {};
  }

  get retryable(): boolean {
    return failureTypes[this.type].retryable;
  }

  get exitCode(): number {
    return failureTypes[this.type].exitCode;
  }
}

/** True for a Failure, optionally of one of the given types. */
export function isFailure(error: unknown, ...types: FailureType[]): error is Failure {
  return error instanceof Failure && (types.length === 0 || types.includes(error.type));
}
