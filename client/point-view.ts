import type { PointRecord } from '../engine/catalog/index.ts';
import { openHolds } from '../policies/hold.ts';
import type { Policy } from '../policies/policy.ts';
import { judgePolicy, type RuleVerdict } from '../policies/three-two-one.ts';

/** A recovery point as --json shows it. */
export interface PointView {
  id: string;
  source: string;
  kind: string;
  level: string;
  classes: string[];
  /** ISO-8601: the moment that a restore brings back. */
  capturedAt: string;
  sourceBytes: number;
  storedBytes: number;
  /** Source bytes per stored byte. */
  ratio: number;
  entries: number;
  checks: { passed: number; of: number };
  copies: {
    copy: string;
    state: string;
    publishedAt: string | null;
    verifiedAt: string | null;
    /** Object Lock: nobody removes it there before. */
    lockedUntil: string | null;
    /** A legal hold that the store enforces. */
    held: boolean;
    error: string | null;
  }[];
  /** Legal holds that are not lifted. */
  holds: { operator: string; reason: string; at: string }[];
  rule: RuleVerdict;
}

export function viewPoint({ backup, copies, storedBytes, holds }: PointRecord, policy: Policy): PointView {
  const { sourceBytes, entries } = backup.content;
  const { checks } = backup.validation;
  return {
    id: backup.id,
    source: backup.source.name,
    kind: backup.source.kind,
    level: backup.level,
    classes: backup.classes,
    capturedAt: backup.capturedAt,
    sourceBytes,
    storedBytes,
    ratio: Number((sourceBytes / Math.max(1, storedBytes)).toFixed(3)),
    entries,
    checks: { passed: checks.filter((c) => c.passed).length, of: checks.length },
    copies: copies.map(({ copy, state, publishedAt, verifiedAt, lockedUntil, held, error }) => ({
      copy,
      state,
      publishedAt,
      verifiedAt,
      lockedUntil,
      held,
      error,
    })),
    holds: openHolds(holds).map(({ operator, reason, at }) => ({ operator, reason, at })),
    rule: judgePolicy(policy, (name) => copies.some((k) => k.copy === name && k.state === 'verified')),
  };
}

/** The copies in one cell. */
export function copiesCell(copies: PointView['copies']): string {
  return copies.map((c) => `${c.state === 'verified' ? '✓' : '✗'} ${c.copy}`).join('\n');
}

/** `2026-01-02 03:04:05Z`: UTC, as the stores tell it. */
export function shortTime(iso: string): string {
  return iso.replace('T', ' ').replace(/\.\d+Z$/, 'Z');
}
