import { keyNameOf, keyNumber } from './recovery-point.ts';

/** A wrapped key as it was found beside a point in one copy. */
export interface FoundKey {
  copy: string;
  /** `key.N.age` */
  name: string;
  sha256: string;
  recipients: string[];
  /** It was shown to hold the point's key, for these recipients. */
  genuine: boolean;
}

export interface RekeyPlan {
  /** The wrapped key that every copy is to have. */
  name: string;
  /** Of the one that is there already; null when the key is to be wrapped anew. */
  sha256: string | null;
  /** Copies that do not have it, in the order given. */
  lacking: string[];
}

/**
 * Which wrapped key a point is to have in all its copies, so that the present recipients open it: the newest genuine one
 * that is for exactly them and whose name nothing else has taken in any copy, or else a new one, whose number is higher
 * than any. Nothing is ever overwritten, and a copy has the same objects as every other.
 */
export function planRekey({
  recipients,
  copies,
  found,
}: {
  recipients: string[];
  copies: string[];
  found: FoundKey[];
}): RekeyPlan {
  const number = ({ name }: { name: string }) => keyNumber(name) ?? 0;
  const candidates = found
    .filter((k) => k.genuine && sameRecipients(k.recipients, recipients))
    .sort((a, b) => number(b) - number(a));
  const use = candidates.find((c) => found.every((k) => k.name !== c.name || k.sha256 === c.sha256));
  if (!use) return { name: keyNameOf(Math.max(1, ...found.map(number)) + 1), sha256: null, lacking: copies };
  const having = found.filter((k) => k.name === use.name).map((k) => k.copy);
  return { name: use.name, sha256: use.sha256, lacking: copies.filter((c) => !having.includes(c)) };
}

export function sameRecipients(a: string[], b: string[]): boolean {
  return new Set(a).size === new Set(b).size && a.every((r) => b.includes(r));
}

/** How long a lock on a wrapped key must be at least: as long as the point's own, for without a key it is lost. */
export function lockOfKey(
  mode: 'compliance' | 'governance' | undefined,
  point: { lockedUntil: string | null },
  now: string,
): { mode: 'compliance' | 'governance'; until: string } | null {
  if (mode === undefined || point.lockedUntil === null || Date.parse(point.lockedUntil) <= Date.parse(now)) return null;
  return { mode, until: point.lockedUntil };
}

/** Whom the wrapped keys of a point in one copy are for, by what they say. */
export interface PointKeys {
  pointId: string;
  recipients: string[];
}

export interface KeyCoverage {
  points: number;
  /** Present recipients first, then former ones. */
  opens: { recipient: string; present: boolean; points: number }[];
  /** Points that some present recipient does not open. */
  lacking: string[];
  /** Points that somebody opens who is no present recipient. */
  former: string[];
}

/** How many points of one copy each recipient opens, and which are not as the present recipients would have them. */
export function keyCoverage(points: PointKeys[], present: string[]): KeyCoverage {
  const everybody = new Set([...present, ...points.flatMap((p) => p.recipients)]);
  const isIn = (recipient: string) => (p: PointKeys) => p.recipients.includes(recipient);
  return {
    points: points.length,
    opens: [...everybody].map((recipient) => ({
      recipient,
      present: present.includes(recipient),
      points: points.filter(isIn(recipient)).length,
    })),
    lacking: points.filter((p) => !present.every((r) => p.recipients.includes(r))).map((p) => p.pointId),
    former: points.filter((p) => p.recipients.some((r) => !present.includes(r))).map((p) => p.pointId),
  };
}

export interface WalCoverage {
  objects: number;
  /** Present recipients first, then former ones. */
  opens: { recipient: string; present: boolean; objects: number }[];
  /** How many some present recipient does not open. */
  lacking: number;
  /** How many somebody opens who is no present recipient. */
  former: number;
}

/** The same of archived WAL, of which there is much: by how many objects are for the same recipients. */
export function walCoverage(sets: { recipients: string[]; objects: number }[], present: string[]): WalCoverage {
  const sum = (isMeant: (recipients: string[]) => boolean) =>
    sets.reduce((n, s) => n + (isMeant(s.recipients) ? s.objects : 0), 0);
  return {
    objects: sum(() => true),
    opens: [...new Set([...present, ...sets.flatMap((s) => s.recipients)])].map((recipient) => ({
      recipient,
      present: present.includes(recipient),
      objects: sum((recipients) => recipients.includes(recipient)),
    })),
    lacking: sum((recipients) => !present.every((r) => recipients.includes(r))),
    former: sum((recipients) => recipients.some((r) => !present.includes(r))),
  };
}
