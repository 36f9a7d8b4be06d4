import { durationSeconds } from './duration.ts';
import type { TierPolicy } from './tier-policy.ts';

/** What storage costs (mission row F2). Dollars are not rounded; whoever shows them does. */

const bytesPerGb = 2 ** 30;
/** 730.5 hours: a twelfth of a year with its share of the leap day. */
export const monthMs = 730.5 * 3_600_000;

/** For keeping bytes in a tier for a time. */
export function storageDollars(tier: TierPolicy, bytes: number, ms: number): number {
  return (bytes / bytesPerGb) * (ms / monthMs) * tier.dollarsPerGbMonth;
}

/** What is still to be paid when bytes leave a tier, moved or removed, before its minimum time is over. */
export function earlyDollars(tier: TierPolicy, bytes: number, keptMs: number): number {
  const minimumMs = tier.minimumStorage === undefined ? 0 : durationSeconds(tier.minimumStorage) * 1000;
  return storageDollars(tier, bytes, Math.max(0, minimumMs - keptMs));
}

/** For restoring bytes that lie in a tier to somewhere else. */
export function restoreDollars(tier: TierPolicy, bytes: number): { retrieval: number; egress: number } {
  const gb = bytes / bytesPerGb;
  return { retrieval: gb * tier.dollarsPerGbRetrieved, egress: gb * tier.dollarsPerGbEgress };
}

/**
 * Whether bytes in a tier can be back in time (design §6a): its thaw and the reading of them, against an RTO.
 *
 * @param bytesPerSecond as measured by restores
 */
export function restoreSeconds(tier: TierPolicy, bytes: number, bytesPerSecond: number): number {
  return (tier.thaw === undefined ? 0 : durationSeconds(tier.thaw)) + bytes / bytesPerSecond;
}
