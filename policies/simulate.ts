import type { CalendarPolicy } from './calendar-policy.ts';
import { earlyDollars, monthMs, restoreDollars, storageDollars } from './cost.ts';
import { type SimulatedCopy, type Stay, staysOf } from './placement.ts';
import type { BackupClass } from './recovery-point.ts';
import type { RetentionPolicy } from './retention-policy.ts';
import type { TierPolicy } from './tier-policy.ts';
import { type TimelinePoint, timelineOf } from './timeline.ts';

/** A source as it was measured, or is guessed. */
export interface SimulatedSource {
  name: string;
  calendar: CalendarPolicy;
  /** It knows no level but full. */
  alwaysFull: boolean;
  /** Stored bytes of a full backup at the beginning. */
  fullBytes: number;
  /** Share of it that is different after a day, 0 to 1. */
  changePerDay: number;
  /** Growth in a year, as a share: 0.2 for a fifth. */
  growthPerYear: number;
  /** Full restores in a year, drills among them, from the copy of that name. */
  restores: { perYear: number; copy: string } | null;
}

export interface SimulationInput {
  sources: SimulatedSource[];
  copies: SimulatedCopy[];
  retention: RetentionPolicy;
  /** ISO-8601. */
  from: string;
  years: number;
}

export interface StoredAmount {
  copy: string;
  tier: string;
  bytes: number;
  /** For keeping it this month. */
  dollars: number;
}

/** A calendar month in UTC, with what is there at its end, of all sources. */
export interface SimulatedMonth {
  /** YYYY-MM */
  month: string;
  points: number;
  /** Bytes in one copy that keeps all, and points, by the highest class of each. */
  classes: { class: BackupClass; points: number; bytes: number }[];
  stored: StoredAmount[];
  dollars: { storage: number; early: number; retrieval: number; egress: number };
}

export interface Simulation {
  months: SimulatedMonth[];
  dollars: number;
}

const yearMs = 12 * monthMs;
const dayMs = 86_400_000;

/**
 * What a policy will keep, where, and at what cost, without running anything (mission row A8). Backups succeed at once
 * and are copied at once; an incremental stores what has changed since the point that it needs; a restore reads each
 * byte once, from where the newest points lie.
 */
export function simulate({ sources, copies, retention, from, years }: SimulationInput): Simulation {
  const months = monthsFrom(from, years);
  const to = new Date(months.at(-1)?.to ?? 0).toISOString();
  const made = new Map<string, Shared>();
  const totals = months.map(() => emptyTotals(copies));
  for (const source of sources) {
    // Sources of one calendar differ in size only.
    const key = JSON.stringify([source.calendar, source.alwaysFull]);
    const shared = made.get(key) ?? shareOf(timelineOf({ ...source, retention, from, to }), copies, months);
    made.set(key, shared);
    addSource(totals, shared, source, Date.parse(from));
    addRestores(totals, source, copies, months);
  }
  const result = totals.map((t, i) => monthOf(months[i]?.name ?? '', t, copies));
  const dollars = result.reduce((sum, { dollars: d }) => sum + d.storage + d.early + d.retrieval + d.egress, 0);
  return { months: result, dollars };
}

export interface ExistingPoint {
  /** ISO-8601. */
  at: string;
  level: TimelinePoint['level'];
  classes: TimelinePoint['classes'];
  copies: { copy: string; tier: string }[];
}

/** The points of a timeline that exist at a moment (ISO-8601), newest first, with where each lies then. */
export function pointsAt(points: TimelinePoint[], copies: SimulatedCopy[], moment: string): ExistingPoint[] {
  const at = Date.parse(moment);
  const places = points.map((): ExistingPoint['copies'] => []);
  for (const copy of copies) {
    for (const { point, step, from, to } of staysOf(points, copy)) {
      if (from <= at && at < to) places[point]?.push({ copy: copy.name, tier: copy.ladder[step]?.name ?? '' });
    }
  }
  return points
    .map((p, i) => ({ at: new Date(p.at).toISOString(), level: p.level, classes: p.classes, copies: places[i] ?? [] }))
    .filter((p) => p.copies.length > 0)
    .reverse();
}

interface Month {
  name: string;
  from: number;
  to: number;
}

function monthsFrom(from: string, years: number): Month[] {
  const start = new Date(from);
  const first = (i: number) => Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + i);
  return Array.from({ length: Math.ceil(years * 12) }, (_, i) => ({
    name: new Date(first(i)).toISOString().slice(0, 7),
    from: Math.max(first(i), start.getTime()),
    to: first(i + 1),
  }));
}

/** What sources of one calendar have in common, whatever their size. */
interface Shared {
  points: TimelinePoint[];
  shares: Share[];
  /** Indices of the points there at the end of each month. */
  present: number[][];
}

/** A month of a point on one step of a copy's ladder. */
interface Share {
  point: number;
  month: number;
  copy: number;
  step: number;
  /** For each byte: for keeping it, and for leaving before the minimum time is over. */
  storageDollars: number;
  earlyDollars: number;
  isThereAtEnd: boolean;
}

function shareOf(points: TimelinePoint[], copies: SimulatedCopy[], months: Month[]): Shared {
  const shares = copies.flatMap((copy, i) =>
    staysOf(points, copy).flatMap((stay) => sharesOfStay(stay, i, copy.ladder[stay.step], months)),
  );
  const present = months.map(({ to }) => points.flatMap((p, i) => (p.at < to && p.goneAt >= to ? [i] : [])));
  return { points, shares, present };
}

function sharesOfStay(stay: Stay, copy: number, tier: TierPolicy | undefined, months: Month[]): Share[] {
  if (!tier) return [];
  const { point, step } = stay;
  const shares: Share[] = [];
  let month = monthAt(months, stay.from);
  for (; month < months.length; month++) {
    const { from, to } = months[month] ?? { from: 0, to: 0 };
    if (stay.to <= from) break;
    const ms = Math.min(stay.to, to) - Math.max(stay.from, from);
    const leaves = stay.to <= to;
    shares.push({
      point,
      month,
      copy,
      step,
      storageDollars: storageDollars(tier, 1, ms),
      earlyDollars: leaves ? earlyDollars(tier, 1, stay.to - stay.from) : 0,
      isThereAtEnd: stay.to >= to,
    });
  }
  return shares;
}

function monthAt(months: Month[], at: number): number {
  const start = new Date(months[0]?.from ?? 0);
  const date = new Date(at);
  return (date.getUTCFullYear() - start.getUTCFullYear()) * 12 + date.getUTCMonth() - start.getUTCMonth();
}

interface Totals {
  points: Map<BackupClass, { points: number; bytes: number }>;
  /** By copy and step. */
  stored: { bytes: number; dollars: number }[][];
  early: number;
  retrieval: number;
  egress: number;
}

function emptyTotals(copies: SimulatedCopy[]): Totals {
  const stored = copies.map(({ ladder }) => ladder.map(() => ({ bytes: 0, dollars: 0 })));
  return { points: new Map(), stored, early: 0, retrieval: 0, egress: 0 };
}

function addSource(
  totals: Totals[],
  { points, shares, present }: Shared,
  source: SimulatedSource,
  start: number,
): void {
  const bytes = Float64Array.from(points, (p) => bytesOf(p, source, start));
  for (const share of shares) {
    const total = totals[share.month];
    const stored = total?.stored[share.copy]?.[share.step];
    const size = bytes[share.point] ?? 0;
    if (!total || !stored) continue;
    stored.dollars += size * share.storageDollars;
    total.early += size * share.earlyDollars;
    if (share.isThereAtEnd) stored.bytes += size;
  }
  for (const [month, there] of present.entries()) {
    for (const index of there) {
      const name = points[index]?.classes[0] ?? 'manual';
      const known = totals[month]?.points.get(name) ?? { points: 0, bytes: 0 };
      known.points++;
      known.bytes += bytes[index] ?? 0;
      totals[month]?.points.set(name, known);
    }
  }
}

/** Of what has changed since the point that it needs; what changes twice is stored once. */
function bytesOf(point: TimelinePoint, source: SimulatedSource, start: number): number {
  const full = fullBytesAt(source, point.at - start);
  return point.parent === null ? full : full * (1 - (1 - source.changePerDay) ** (point.sinceMs / dayMs));
}

function fullBytesAt({ fullBytes, growthPerYear }: SimulatedSource, ms: number): number {
  return fullBytes * (1 + growthPerYear) ** (ms / yearMs);
}

function addRestores(totals: Totals[], source: SimulatedSource, copies: SimulatedCopy[], months: Month[]): void {
  const tier = copies.find((c) => c.name === source.restores?.copy)?.ladder[0];
  if (!source.restores || !tier) return;
  for (const [i, { from, to }] of months.entries()) {
    const bytes =
      fullBytesAt(source, from - (months[0]?.from ?? 0)) * (source.restores.perYear * ((to - from) / yearMs));
    const { retrieval, egress } = restoreDollars(tier, bytes);
    const total = totals[i];
    if (!total) continue;
    total.retrieval += retrieval;
    total.egress += egress;
  }
}

function monthOf(
  month: string,
  { points, stored, early, retrieval, egress }: Totals,
  copies: SimulatedCopy[],
): SimulatedMonth {
  const amounts = copies.flatMap((copy, i) =>
    copy.ladder.map((tier, step) => ({
      copy: copy.name,
      tier: tier.name,
      ...(stored[i]?.[step] ?? { bytes: 0, dollars: 0 }),
    })),
  );
  const storage = amounts.reduce((sum, a) => sum + a.dollars, 0);
  const classes = [...points].map(([name, more]) => ({ class: name, ...more }));
  return {
    month,
    points: classes.reduce((sum, c) => sum + c.points, 0),
    classes,
    stored: amounts,
    dollars: { storage, early, retrieval, egress },
  };
}
