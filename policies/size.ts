import { formatBytes } from './progress.ts';
import { medianOf, scatterOf } from './robust.ts';

/**
 * Thresholds of the size check. Wide on purpose: a check that stops the backup because somebody cleaned up on a Friday
 * is switched off on Monday. What it must catch is a dump of an emptied database, a mount that is missing, a tree that
 * has become incompressible overnight.
 */
const sizeLimits = {
  /** Below this fraction of the median, and above its inverse, a size is out of line … */
  ratio: 5,
  /** … unless the history itself scatters as widely: this many robust standard deviations are allowed … */
  deviations: 8,
  /** … from this many sizes on; fewer say nothing about scatter … */
  deviationsFrom: 5,
  /** … and never below this fraction of the median. */
  ratioAtMost: 50,
  /** Growth by less than this is never out of line: an empty database that gets its first tables. */
  growthSlackBytes: 16 * 1024 * 1024,
} as const;

export interface SizeVerdict {
  passed: boolean;
  details: string;
  error?: string;
}

/**
 * Compares a point's stored size with those of the source's earlier points (mission row E1). Median and median
 * absolute deviation, so that a few odd points in the history move nothing. Without a history it passes and says so.
 *
 * @param bytes stored size of the new point
 * @param history stored sizes of earlier points, in any order
 */
export function judgeSize(bytes: number, history: number[]): SizeVerdict {
  if (bytes <= 0) return { passed: false, details: 'empty', error: 'the point is empty: it has no stored bytes' };
  if (history.length === 0) {
    return { passed: true, details: `${formatBytes(bytes)}; the first point of its source, nothing to compare with` };
  }
  const { median, low, high } = sizeBounds(history);
  const details = `${formatBytes(bytes)} against a median of ${formatBytes(median)} over ${history.length} ${history.length === 1 ? 'point' : 'points'} (${formatBytes(low)} to ${formatBytes(high)} is in line)`;
  if (bytes < low) return { passed: false, details, error: `suspiciously small: ${details}` };
  if (bytes > high) return { passed: false, details, error: `suspiciously large: ${details}` };
  return { passed: true, details };
}

/** The sizes that are in line with a history of at least one. */
export function sizeBounds(history: number[]): { median: number; low: number; high: number } {
  const median = medianOf(history);
  const sigma = history.length < sizeLimits.deviationsFrom ? 0 : scatterOf(history);
  const spread = sizeLimits.deviations * sigma;
  return {
    median,
    low: Math.max(Math.min(median / sizeLimits.ratio, median - spread), median / sizeLimits.ratioAtMost),
    high: Math.max(median * sizeLimits.ratio, median + spread, median + sizeLimits.growthSlackBytes),
  };
}
