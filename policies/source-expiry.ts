import { type Anomaly, findAnomalies, type PointFacts } from './anomaly.ts';
import { durationSeconds } from './duration.ts';
import { type ExpiryMark, type ExpiryStep, expiryStep } from './expiry.ts';
import { type HoldNote, holdInWords, openHolds } from './hold.ts';
import { sourcePolicy } from './plan.ts';
import type { Policy } from './policy.ts';
import { type BackupJson, storedBytes } from './recovery-point.ts';
import { planRetention, type RetainedPoint, type Verdict } from './retention.ts';

/** Restores under way that read a point, by its id: their workflows. */
export type Readers = ReadonlyMap<string, string[]>;

/** @param readings of restores that are still under way */
export function readersByPoint(readings: readonly { pointId: string; workflowId: string }[]): Readers {
  const readers = new Map<string, string[]>();
  for (const { pointId, workflowId } of readings) readers.set(pointId, [...(readers.get(pointId) ?? []), workflowId]);
  return readers;
}

/** A recovery point as the catalog, or its stores, know it. */
export interface KnownPoint {
  backup: BackupJson;
  copies: { state: string; publishedAt: string | null; lockedUntil: string | null; held: boolean }[];
  holds: HoldNote[];
  /** Its copies describe it differently. */
  contradicted?: boolean;
}

/**
 * A point as retention sees it; null when it lies nowhere. It is as old as the first store says that got it: whoever
 * lays it into another one again does not make it new. A lock lasts as long as the longest.
 *
 * @param trusted public keys whose signature makes a point count
 * @param readers restores under way
 */
export function retainedPoint(
  { backup, copies, holds, contradicted }: KnownPoint,
  trusted: string[],
  readers: Readers = new Map(),
): RetainedPoint | null {
  const there = copies.filter((c) => c.state === 'verified');
  const storedAt = extreme(
    there.map((c) => c.publishedAt),
    'earliest',
  );
  if (storedAt === null) return null;
  const noted = openHolds(holds).map(holdInWords);
  return {
    pointId: backup.id,
    parent: backup.parent,
    classes: backup.classes,
    storedAt,
    validated: backup.validation.passed && !contradicted,
    trusted: trusted.includes(backup.signature.publicKey),
    lockedUntil: extreme(
      there.map((c) => c.lockedUntil),
      'latest',
    ),
    holds: noted.length === 0 && there.some((c) => c.held) ? ['by the store itself'] : noted,
    readers: readers.get(backup.id) ?? [],
  };
}

function extreme(times: (string | null)[], which: 'earliest' | 'latest'): string | null {
  const sorted = times.filter((t) => t !== null).sort((a, b) => Date.parse(a) - Date.parse(b));
  return sorted.at(which === 'earliest' ? 0 : -1) ?? null;
}

/** Of the clocks of several stores: nothing is older than the one that is behind says. */
export function earliestOf(clocks: string[]): string {
  return extreme(clocks, 'earliest') ?? new Date(0).toISOString();
}

export interface SourceExpiryInput {
  policy: Policy;
  source: string;
  points: KnownPoint[];
  /** Now, by the stores' clocks. */
  storeNow: string;
  marks: ExpiryMark[];
  /** Ids of points that were suddenly different, and that a person has found in order. */
  decided: string[];
  readers?: Readers;
}

export interface SourceExpiry {
  points: RetainedPoint[];
  verdicts: Verdict[];
  anomalies: Anomaly[];
  /** Why nothing goes until a person has decided; null when all is well. */
  stopped: string | null;
  step: ExpiryStep;
}

/** What is to be done about the points of a source now. Throws SourceUnknown: what the policy does not name, stays. */
export function judgeSource(input: SourceExpiryInput): SourceExpiry {
  const { policy, source, points, storeNow, marks, decided, readers } = input;
  const calendar = sourcePolicy(policy, source).calendar ?? policy.calendar;
  const { retention, keys } = policy;
  const known = points.flatMap((point) => {
    const retained = retainedPoint(point, keys.trusted, readers);
    return retained ? [{ point, retained }] : [];
  });
  const counting = known.filter(({ retained }) => retained.validated && retained.trusted);
  const anomalies = findAnomalies(
    counting.map(({ point, retained }) => factsOf(point, retained.storedAt)),
    decided,
  );
  const stopped = anomalies.length === 0 ? null : anomalyInWords(anomalies);
  const retained = known.map((k) => k.retained);
  const verdicts = planRetention({ points: retained, calendar, retention, storeNow, stopped });
  const graceMs = durationSeconds(retention.grace) * 1000;
  return {
    points: retained,
    verdicts,
    anomalies,
    stopped,
    step: expiryStep(retained, verdicts, marks, { storeNow, graceMs }),
  };
}

function factsOf({ backup }: KnownPoint, storedAt: string): PointFacts {
  const { sourceBytes, entries } = backup.content;
  return { pointId: backup.id, level: backup.level, storedAt, sourceBytes, storedBytes: storedBytes(backup), entries };
}

function anomalyInWords(anomalies: Anomaly[]): string {
  const lines = anomalies.slice(0, 3).map(({ pointId, reasons }) => `${pointId}: ${reasons.join(', ')}`);
  const rest = anomalies.length - lines.length;
  return `${lines.join('; ')}${rest > 0 ? `; and ${rest} more` : ''}`;
}

/** Key of the incident that says that nothing of a source goes; a person resolves it. */
export const expiryStoppedKey = (source: string): string => `expiry-stopped/${source}`;
