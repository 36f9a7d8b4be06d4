/** Statistics that a few odd values do not move. */

export function medianOf(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}

/** Median absolute deviation, scaled by 1.4826 to the standard deviation of a normal distribution. */
export function scatterOf(values: number[]): number {
  const median = medianOf(values);
  return 1.4826 * medianOf(values.map((v) => Math.abs(v - median)));
}
