/**
 * Why only critical sources get slots (mission rows A3, C2): something is under strain, such as a server that keeps WAL for
 * us, and every other backup would add to it. Each cause ends by itself, by a lease that whoever sees it must renew, or
 * by a person. Plain data in, plain data out; what has not changed is the same object.
 */

export interface Person {
  operator: string;
  reason: string;
}

export interface Strain {
  /** What is under strain: `wal/SOURCE`, or `person` for somebody's word. */
  cause: string;
  /** Why, for people. */
  why: string;
  /** ISO-8601 */
  since: string;
  /** When it is over unless it is told again, ISO-8601; null: only when somebody says so. */
  until: string | null;
  /** Who lets everybody have slots all the same, until it is over. */
  lifted: Person | null;
}

export interface StrainReport {
  cause: string;
  /** Null: it is over. */
  why: string | null;
  /** So long it holds without being told again, milliseconds. */
  leaseMs: number;
}

const personal = 'person';

/** A strain that begins, goes on, or is over. Why it began is not told anew. */
export function report(strains: Strain[], { cause, why, leaseMs }: StrainReport, now: string): Strain[] {
  if (why === null) return without(strains, (s) => s.cause === cause);
  const until = new Date(Date.parse(now) + leaseMs).toISOString();
  const known = strains.find((s) => s.cause === cause);
  if (!known) return [...strains, { cause, why, since: now, until, lifted: null }];
  if (known.until === null || known.until >= until) return strains;
  return strains.map((s) => (s === known ? { ...s, until } : s));
}

/** Only critical sources, until a person lifts it. What was lifted before counts again. */
export function restrict(strains: Strain[], by: Person, now: string): Strain[] {
  const others = strains.filter((s) => s.cause !== personal).map((s) => (s.lifted ? { ...s, lifted: null } : s));
  const why = `${by.operator} wants it so: ${by.reason}`;
  return [...others, { cause: personal, why, since: now, until: null, lifted: null }];
}

/** Everybody gets slots again, whatever is under strain now; what comes under strain later counts. */
export function lift(strains: Strain[], by: Person): Strain[] {
  return strains.filter((s) => s.cause !== personal).map((s) => (s.lifted ? s : { ...s, lifted: by }));
}

/** Takes away those whose lease is over. */
export function lapse(strains: Strain[], now: string): Strain[] {
  return without(strains, (s) => s.until !== null && s.until <= now);
}

/** When the next one is over unless it is told again; null when none is. */
export function nextLapse(strains: Strain[]): string | null {
  return strains.flatMap((s) => s.until ?? []).sort()[0] ?? null;
}

/** Why only critical sources get slots; null when everybody does. */
export function restriction(strains: Strain[]): string | null {
  const counting = strains.filter((s) => s.lifted === null);
  return counting.length === 0 ? null : counting.map((s) => s.why).join('; ');
}

function without(strains: Strain[], isOver: (strain: Strain) => boolean): Strain[] {
  return strains.some(isOver) ? strains.filter((s) => !isOver(s)) : strains;
}

/** Shares of what a server may keep for us: at the one it is under strain, and below the other no longer. */
const beginsAt = 0.8;
const endsBelow = 0.5;

/**
 * Whether WAL that does not get to the copies strains its server, or the staging disk that it waits on.
 *
 * @param waitingBytes what is kept
 * @param was whether it did when it was looked at last
 */
export function isWalStrained(waitingBytes: number, slotBytes: number, was: boolean): boolean {
  return waitingBytes >= slotBytes * (was ? endsBelow : beginsAt);
}

/** A worker that died renews nothing, so its strain is over after so long. */
export const strainLeaseMs = 15 * 60_000;
export const strainRenewMs = strainLeaseMs / 3;

export const walCause = (source: string): string => `wal/${source}`;
