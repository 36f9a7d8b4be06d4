import { formatBytes } from './progress.ts';
import type { Level } from './recovery-point.ts';
import { medianOf, scatterOf } from './robust.ts';

/** What is known of a recovery point that counts: validated, and its signature verified. */
export interface PointFacts {
  pointId: string;
  level: Level;
  /** By the store's own clock, ISO-8601. */
  storedAt: string;
  sourceBytes: number;
  storedBytes: number;
  entries: number;
}

export interface Anomaly {
  pointId: string;
  /** One line each: what changed, from what to what. */
  reasons: string[];
}

/**
 * Narrower than the size check, which fails a backup: this only stops expiry until a person has looked, and old points
 * are what is needed when the new ones turn out to be those of an emptied, encrypted or poisoned source.
 */
const limits = {
  /** Points to compare with, at most … */
  historyMost: 30,
  /** … and at least. */
  historyLeast: 3,
  /** Robust standard deviations that are allowed, whatever else is. */
  deviations: 6,
  /** Below the inverse of this times the median, and above this times the median. */
  ratio: { full: 2, differential: 10, incremental: 10 },
  entriesRatio: 2,
  /** Changes by less are never sudden. */
  bytesSlack: 64 * 1024 * 1024,
  entriesSlack: 1000,
  /** What does not compress any more is encrypted, as a rule: a rise of stored to source bytes by this much. */
  compressionRise: 0.25,
  compressionFrom: 1024 * 1024,
} as const;

/**
 * The points of a source that are suddenly different from those before: in size, in number of entries, or in how well
 * they compress. Only points of one level are compared. When a person has decided that a point is in order, it and all
 * before it are, and later ones may be like those since as well as like those before.
 *
 * @param points of one source, in any order
 * @param decided ids of points that a person has looked at and found in order
 */
export function findAnomalies(points: PointFacts[], decided: string[] = []): Anomaly[] {
  return (['full', 'differential', 'incremental'] as const).flatMap((level) => {
    const line = points.filter((p) => p.level === level).sort((a, b) => (before(a, b) ? -1 : 1));
    const from = line.findLastIndex((p) => decided.includes(p.pointId));
    return line.slice(from + 1).flatMap((point, i) => {
      const at = from + 1 + i;
      const all = line.slice(Math.max(0, at - limits.historyMost), at);
      const usual = all.length < limits.historyLeast ? [] : reasonsOf(point, all);
      const reasons = from < 0 || usual.length === 0 ? usual : reasonsOf(point, line.slice(from, at));
      return reasons.length === 0 ? [] : [{ pointId: point.pointId, reasons }];
    });
  });
}

function before(a: PointFacts, b: PointFacts): boolean {
  return a.storedAt === b.storedAt ? a.pointId < b.pointId : a.storedAt < b.storedAt;
}

function reasonsOf(point: PointFacts, history: PointFacts[]): string[] {
  const ratio = limits.ratio[point.level];
  const reasons: string[] = [];
  for (const [what, of] of [
    ['source', (p: PointFacts) => p.sourceBytes],
    ['stored', (p: PointFacts) => p.storedBytes],
  ] as const) {
    const usual = history.map(of);
    if (isSudden(of(point), usual, ratio, limits.bytesSlack)) {
      reasons.push(`${what} size ${formatBytes(of(point))}, usually ${formatBytes(medianOf(usual))}`);
    }
  }
  const entries = history.map((p) => p.entries);
  if (isSudden(point.entries, entries, limits.entriesRatio, limits.entriesSlack)) {
    reasons.push(`${point.entries} entries, usually ${Math.round(medianOf(entries))}`);
  }
  const compression = history.filter((p) => p.sourceBytes >= limits.compressionFrom).map(compressionOf);
  if (point.sourceBytes >= limits.compressionFrom && compression.length > 0) {
    const usual = medianOf(compression);
    const rise = Math.max(limits.compressionRise, limits.deviations * scatterOf(compression));
    if (compressionOf(point) > usual + rise) {
      reasons.push(`compresses to ${percent(compressionOf(point))}, usually to ${percent(usual)}: it may be encrypted`);
    }
  }
  return reasons;
}

function isSudden(value: number, history: number[], ratio: number, slack: number): boolean {
  const median = medianOf(history);
  if (Math.abs(value - median) < slack) return false;
  const spread = limits.deviations * scatterOf(history);
  return value < Math.min(median / ratio, median - spread) || value > Math.max(median * ratio, median + spread);
}

function compressionOf({ storedBytes, sourceBytes }: PointFacts): number {
  return storedBytes / sourceBytes;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
