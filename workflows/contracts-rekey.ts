/**
 * Workflow type `rekey`, id `rekey`: one at a time. Wraps the keys of points and of archived WAL for the policy's present
 * recipients, in every copy; a person asks for it.
 */
export interface RekeyInput {
  targets: RekeyTarget[];
  /** Only in these copies. Default: every copy of the policy. */
  copies?: string[];
  /** Also take away the former wrapped keys, each once a present recipient's identity has opened the new one. */
  revoke?: boolean;
  operator: string;
  reason: string;
  /** What an earlier run knew. */
  state?: RekeyState;
  /** History events after which it goes on in a new run; for tests. */
  historyBudget?: number;
}

/** How far it is: all targets before this one are done; of this one, the points or WAL up to `after`. */
export interface RekeyState {
  sources: SourceRekeyed[];
  target: number;
  step: 'points' | 'wal';
  after: string | null;
}

export interface RekeyTarget {
  source: string;
  /** Default: every point of the source that its copies hold, and its archived WAL. */
  points?: string[];
  /** The machine whose workers do it; default `local`. */
  host?: string;
}

export interface RekeyResult {
  sources: SourceRekeyed[];
}

/** What became of the keys of one source. */
export interface SourceRekeyed {
  source: string;
  points: number;
  /** Copies of points to which a wrapped key was added. */
  added: number;
  /** Copies of points that had it. */
  present: number;
  wal: WalRekeyed;
  /** Former wrapped keys that were taken away; null when nobody asked for it. */
  revoked: number | null;
  /** Those that could not be taken away: `POINT or OBJECT in COPY: NAME, WHY`. At most 50. */
  kept: string[];
  moreKept: number;
  /** Points whose former keys stay, because no identity of the recovery worker is that of a present recipient. */
  unproven: number;
  /** At most 50. */
  problems: string[];
  moreProblems: number;
}

/** The same of its archived WAL. */
export interface WalRekeyed {
  objects: number;
  added: number;
  present: number;
  unproven: number;
  /** Objects that somebody opens who is no recipient any more, by the key in their signed line: it goes with them only. */
  inLine: number;
}

export const rekeyWorkflowId = 'rekey';
