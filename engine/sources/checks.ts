import { isFailure } from '../../policies/failure.ts';
import type { Check, CheckName } from '../../policies/recovery-point.ts';

/** @param tookMs milliseconds */
export function passedCheck(check: CheckName, tookMs: number, details: string): Check {
  return { check, passed: true, details, durationMs: Math.round(tookMs) };
}

export function failedCheck(check: CheckName, tookMs: number, error: string): Check {
  return { check, passed: false, details: 'failed', error, durationMs: Math.round(tookMs) };
}

/** A failed check when the point itself is bad; anything else (no space, aborted, unreachable) is thrown: it says nothing of the point. */
export function checkFromDamage(check: CheckName, tookMs: number, error: unknown): Check {
  const damage = ['Corrupt', 'KeyWrong', 'KeyMissing', 'ObjectMissing', 'FormatUnsupported', 'ChainBroken'] as const;
  if (isFailure(error, ...damage, 'ValidationFailed')) {
    return failedCheck(check, tookMs, error.message);
  }
  throw error;
}
