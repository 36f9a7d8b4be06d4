/** The words in which sizes, times and progress are shown, everywhere alike. */

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** Binary units, three significant digits: `1.46 GiB`. */
export function formatBytes(bytes: number): string {
  let value = Math.max(0, bytes);
  let unit = 0;
  while (value >= 1023.5 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 07 min`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

export interface ProgressFacts {
  /** Bytes of the source that are sealed. */
  backedUpBytes: number;
  /** Checks that passed. */
  validated: number;
  /** State of the copies, in words. */
  replicating: string;
}

/** The progress line (mission row G1). */
export function formatProgress({ backedUpBytes, validated, replicating }: ProgressFacts): string {
  return `💾 Backed Up: ${formatBytes(backedUpBytes)} | ✅ Validated: ${validated} | 🔄 Replicating: ${replicating}`;
}
