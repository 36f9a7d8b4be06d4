import type { BackupJson } from './recovery-point.ts';

/** Clocks that differ by more cannot talk to S3 at all. */
const skewMs = 15 * 60_000;

/**
 * What a point says of itself that cannot be true, given when the store got it, in words; null when all may be true. A
 * point from the future would be the newest for ever: what everybody restores, and what makes all others old.
 *
 * @param publishedAt by the store's clock, ISO-8601
 */
export function impossibleClaim({ capturedAt }: Pick<BackupJson, 'capturedAt'>, publishedAt: string): string | null {
  if (Date.parse(capturedAt) <= Date.parse(publishedAt) + skewMs) return null;
  return `it was captured at ${capturedAt}, it says, but the store has it since ${publishedAt}`;
}
