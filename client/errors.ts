import { type FailureType, failureTypes, isFailure } from '../policies/failure.ts';

/** An error as `backupctl` tells it. */
export interface DescribedError {
  type: FailureType | 'Unexpected';
  message: string;
  /** What to do now; empty when nobody can say. */
  next: string;
  exitCode: number;
}

/** What ApplicationFailure looks like, without loading Temporal's packages for it. */
interface Wrapped {
  name?: unknown;
  message?: unknown;
  type?: unknown;
  details?: unknown;
  cause?: unknown;
  /** gRPC status. */
  code?: unknown;
}

/**
 * Gives any error its type, words, next step and exit code. Failures that crossed a workflow come wrapped several times
 * (WorkflowFailedError, ActivityFailure, ApplicationFailure): the innermost with a type of ours is the one that counts.
 */
export function describeError(error: unknown): DescribedError {
  if (isFailure(error)) {
    return { type: error.type, message: error.message, next: error.next, exitCode: error.exitCode };
  }
  const chain: Wrapped[] = [];
  for (
    let at: unknown = error;
    typeof at === 'object' && at !== null && chain.length < 20;
    at = (at as Wrapped).cause
  ) {
    chain.push(at as Wrapped);
  }
  for (const at of chain.toReversed()) {
    if (typeof at.type === 'string' && at.type in failureTypes) {
      return described(at.type as FailureType, messageOf(at), nextOf(at.details));
    }
  }
  // gRPC's UNAVAILABLE and DEADLINE_EXCEEDED, as Temporal's client passes them on.
  if (chain.some((e) => e.name === 'ServiceError') && chain.some((e) => e.code === 14 || e.code === 4)) {
    return described(
      'TemporalUnreachable',
      'Temporal stopped answering.',
      'See whether it runs ("backupctl doctor"), then try again.',
    );
  }
  const innermost = chain.at(-1);
  if (chain.some((e) => e.name === 'CancelledFailure' || e.name === 'TerminatedFailure')) {
    return described(
      'Interrupted',
      'The job was cancelled or terminated before it was done.',
      'Run it again when it may run to its end.',
    );
  }
  return {
    type: 'Unexpected',
    message: innermost ? messageOf(innermost) : String(error),
    next: 'This is likely a defect: please report it with the command that you ran.',
    exitCode: 1,
  };
}

function described(type: FailureType, message: string, next: string): DescribedError {
  return { type, message, next, exitCode: failureTypes[type].exitCode };
}

function messageOf({ message, name }: Wrapped): string {
  return typeof message === 'string' && message !== '' ? message : String(name ?? 'unknown error');
}

function nextOf(details: unknown): string {
  const first: unknown = Array.isArray(details) ? details[0] : undefined;
  if (typeof first === 'object' && first !== null && 'next' in first && typeof first.next === 'string')
    return first.next;
  return 'The Temporal Web UI shows every attempt and its error.';
}
