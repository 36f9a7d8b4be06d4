/** What is repaired as one: a point with its description, the WAL of a source, or the files of the way out. */
export type RepairPart =
  | { kind: 'point'; source: string; pointId: string }
  | { kind: 'wal'; source: string }
  | { kind: 'way-out' };

/** An object of a copy that is not what it must be. */
export interface Damage {
  key: string;
  state: 'damaged' | 'missing';
  /** One line. */
  problem: string;
  /** A copy that has it good; null when none has. */
  from: string | null;
}

/** An object that could not be dealt with, and why, with what to do next. */
export interface Refusal {
  key: string;
  reason: string;
}

/** In words, for people. */
export function partName(part: RepairPart): string {
  switch (part.kind) {
    case 'point':
      return part.pointId;
    case 'wal':
      return `the WAL of ${part.source}`;
    case 'way-out':
      return 'the way out';
  }
}
