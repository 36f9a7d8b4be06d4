import type { CopyPolicy, Policy } from './policy.ts';
import type { BackupClass, BackupJson, Level, SourceFacts, SourceKind } from './recovery-point.ts';
import { eligibleAfter, ladderOf } from './tiers.ts';
import { lsnOf } from './wal.ts';

/** A point, as far as others may build upon it. */
export interface ChainPoint {
  backup: Pick<BackupJson, 'id' | 'source' | 'level' | 'parent' | 'classes' | 'capturedAt' | 'facts' | 'objects'> & {
    validation: Pick<BackupJson['validation'], 'passed'>;
  };
  copies: { copy: string; state: 'verified' | 'failed' | 'pruned'; publishedAt: string | null }[];
}

/** What a new point is compared with. */
export interface Parent {
  pointId: string;
  /** SHA-256 of its sealed manifest: tells what the backup host has kept of it from what it has not. */
  manifest: string;
  /** A copy that its whole chain can be read from at once. */
  from: string;
}

export interface ChainRequest {
  level: Level;
  kind: SourceKind;
  host: string;
  /** What says that a point is of the same thing; compared with the point's facts by name. */
  identity: Record<string, string>;
  /** ISO-8601. */
  now: string;
  /** Points that are marked to be removed once their grace is over, or are being removed. */
  expiring?: readonly string[];
}

/** Points in one chain at the most: each that is added is one more that must not be lost. */
export const chainPointsMax = 50;

/**
 * Kinds of sources that can be compared with an earlier point, and the facts by which one tells that it is of the same
 * thing, in the same state as far as comparing goes.
 */
const chainable: Partial<Record<SourceKind, readonly string[]>> = {
  files: ['path'],
  // A standby's pages differ from its primary's in hints that are not logged; a new timeline is another history.
  'postgres-physical': ['systemIdentifier', 'timeline', 'standby', 'dataChecksums', 'pageBytes'],
};

export function isChainable(kind: SourceKind): boolean {
  return chainable[kind] !== undefined;
}

/**
 * Why a source, as it is found now, cannot be compared with an earlier point of it, in words; null when it can.
 *
 * @param then facts of the point
 * @param now facts of the source
 */
export function divergence(kind: SourceKind, then: SourceFacts, now: SourceFacts): string | null {
  const other = chainable[kind]?.find((fact) => then[fact] !== now[fact]);
  if (other !== undefined) return `its ${other} was ${then[other]}, and is ${now[other]}`;
  const { startLsn } = then;
  const { lsn } = now;
  // Restored from a backup before that one, and started without a timeline of its own.
  if (typeof startLsn === 'string' && typeof lsn === 'string' && lsnOf(lsn) < lsnOf(startLsn)) {
    return `it had come to ${startLsn}, and is back at ${lsn}`;
  }
  return null;
}

/**
 * Chooses the point that a differential (the newest full one) or incremental backup (the newest of any level) is compared
 * with; null, and why, when it has to be a full one. A point counts only when its whole chain is validated and lies in
 * every copy of the policy, so that each copy can be restored from by itself, and in one of them where nothing has to be
 * thawed; and when nothing of it is about to be removed.
 *
 * @param points of the source, newest first
 */
export function chooseParent(
  policy: Pick<Policy, 'copies' | 'tiers'>,
  points: ChainPoint[],
  request: ChainRequest,
): { parent: Parent } | { parent: null; note: string | null } {
  if (request.level === 'full') return { parent: null, note: null };
  const full = (why: string) => ({ parent: null, note: fullInstead(request.level, why) });
  if (!isChainable(request.kind)) return full(`${request.kind} sources are always backed up in full`);
  const candidates = points.filter((p) => request.level === 'incremental' || p.backup.level === 'full');
  let first: string | null = null;
  for (const point of candidates) {
    const flaw = flawOf(policy, points, point, request);
    if (typeof flaw !== 'string') return { parent: flaw };
    first ??= `${point.backup.id} cannot be built upon, for ${flaw}`;
  }
  return full(first ?? (points.length === 0 ? 'the source has no point yet' : 'the source has no full point'));
}

/** One point in one store, where it is not any more. */
export interface LostCopy {
  pointId: string;
  copy: string;
}

/** The points, without the copies that are lost. */
export function withoutLost<P extends ChainPoint>(points: P[], lost: LostCopy[]): P[] {
  const isLost = (pointId: string, copy: string) => lost.some((l) => l.pointId === pointId && l.copy === copy);
  return points.map((p) => ({ ...p, copies: p.copies.filter((c) => !isLost(p.backup.id, c.copy)) }));
}

/** Says that a backup is a full one, and why. */
export function fullInstead(level: Level, why: string): string {
  return `This is a full backup, though ${level} was asked for: ${why}.`;
}

/** What is wrong with a point as a parent, in words; or the parent. */
function flawOf(
  { copies, tiers }: Pick<Policy, 'copies' | 'tiers'>,
  points: ChainPoint[],
  point: ChainPoint,
  { kind, host, identity, now, expiring = [] }: ChainRequest,
): Parent | string {
  const { backup } = point;
  if (backup.source.kind !== kind) return `it is of the kind ${backup.source.kind}`;
  if (backup.source.host !== host) return `it was made on ${backup.source.host}, not on ${host}`;
  for (const [fact, value] of Object.entries(identity)) {
    if (backup.facts[fact] !== value) return `its ${fact} is ${backup.facts[fact]}, not ${value}`;
  }
  const chain = chainOf(points, backup.id);
  if (typeof chain === 'string') return chain;
  if (chain.length >= chainPointsMax) return `its chain has ${chain.length} points, and ${chainPointsMax} are the most`;
  const going = chain.find((p) => expiring.includes(p.backup.id));
  if (going) return `${going.backup.id} is to be removed, and might be gone before the new point is there`;
  const unfit = chain.find((p) => !p.backup.validation.passed);
  if (unfit) return `${unfit.backup.id} did not pass validation`;
  for (const { name } of copies) {
    const missing = chain.find((p) => !isIn(p, name));
    if (missing) return `${missing.backup.id} does not lie in ${name}, whose points could not be restored from there`;
  }
  const from = copies.find((copy) => chain.every((p) => !needsThaw(copy, tiers, p, now)));
  if (!from) return 'every copy of its chain may have to be thawed first';
  const manifest = backup.objects.find((o) => o.role === 'manifest');
  return manifest ? { pointId: backup.id, manifest: manifest.sha256, from: from.name } : 'it names no manifest';
}

/** The point and all that it needs, down to the full one; or why that is no chain, in words. */
export function chainOf<P extends { backup: Pick<BackupJson, 'id' | 'parent' | 'level'> }>(
  points: P[],
  pointId: string,
): P[] | string {
  const byId = new Map(points.map((p) => [p.backup.id, p]));
  const chain: P[] = [];
  for (let id: string | null = pointId; id !== null; ) {
    const point = byId.get(id);
    if (!point) return `${id}, which it needs, is not there`;
    if (chain.includes(point)) return `${id} needs itself`;
    chain.push(point);
    id = point.backup.parent;
  }
  return chain.at(-1)?.backup.level === 'full'
    ? chain
    : `${chain.at(-1)?.backup.id} needs nothing, and is no full point`;
}

/** Whether the point and all that it needs lie in a copy. */
export function isWholeIn(
  points: (Pick<ChainPoint, 'copies'> & { backup: Pick<BackupJson, 'id' | 'parent' | 'level'> })[],
  pointId: string,
  copy: string,
): boolean {
  const chain = chainOf(points, pointId);
  return typeof chain !== 'string' && chain.every((p) => isIn(p, copy));
}

function isIn({ copies }: Pick<ChainPoint, 'copies'>, copy: string): boolean {
  return copies.some((c) => c.copy === copy && c.state === 'verified');
}

/** Whether by its age the point may have moved to where it must be thawed before it can be read. */
function needsThaw(copy: CopyPolicy, tiers: Policy['tiers'], { backup, copies }: ChainPoint, now: string): boolean {
  const storedAt = copies.find((c) => c.copy === copy.name)?.publishedAt ?? backup.capturedAt;
  const ageMs = Date.parse(now) - Date.parse(storedAt);
  const ladder = ladderOf(tiers, copy);
  const isDue = (step: number, classes: BackupClass[]) => {
    const after = eligibleAfter(ladder, step, classes);
    return after !== null && ageMs >= after;
  };
  return ladder.some((tier, step) => tier.thaw !== undefined && isDue(step, backup.classes));
}
