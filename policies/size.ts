import { formatBytes } from './progress.ts';

export interface SizeVerdict {
  passed: boolean;
  details: string;
  error?: string;
}

/** Points that there must be before a size can be called unusual. */
const historyMin = 3;
/** Below a half, or above four times the median, something has happened that a person should look at. */
const shrinkRatio = 0.5;
const growRatio = 4;
/** Changes smaller than this are no reason for anything. */
const ignoreBytes = 4 * 1024 * 1024;

/**
 * Compares a point's stored size with those before it. Too few to compare with: passes, and says so.
 *
 * @param history stored sizes in bytes, any order
 */
export function judgeSize(bytes: number, history: number[]): SizeVerdict {
  if (bytes <= 0) return { passed: false, details: 'empty', error: 'the point is empty' };
  if (history.length < historyMin) {
    return { passed: true, details: `${formatBytes(bytes)}; ${history.length} earlier points, too few to compare with` };
  }
  const usual = median(history);
  const details = `${formatBytes(bytes)}; the median of ${history.length} earlier points is ${formatBytes(usual)}`;
  if (Math.abs(bytes - usual) < ignoreBytes) return { passed: true, details };
  if (bytes < usual * shrinkRatio) return { passed: false, details, error: `it shrank to ${percent(bytes, usual)} of the usual size: ${details}` };
  if (bytes > usual * growRatio) return { passed: false, details, error: `it grew to ${percent(bytes, usual)} of the usual size: ${details}` };
  return { passed: true, details };
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const high = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? 0) + high) / 2;
}

function percent(part: number, whole: number): string {
  return `${Math.round((part / whole) * 100)} %`;
}
