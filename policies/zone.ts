/** Local clocks of IANA time zones, from the tz database that Node.js carries. Instants are milliseconds since 1970. */

/** A day of some local calendar. */
export interface LocalDate {
  year: number;
  /** 1 to 12. */
  month: number;
  day: number;
}

export interface LocalTime extends LocalDate {
  hour: number;
  minute: number;
}

const dayMs = 86_400_000;

const clocks = new Map<string, Intl.DateTimeFormat>();

function clockOf(zone: string): Intl.DateTimeFormat {
  let clock = clocks.get(zone);
  if (!clock) {
    clock = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
    clocks.set(zone, clock);
  }
  return clock;
}

export function isTimeZone(name: string): boolean {
  try {
    clockOf(name);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** Offsets at the beginning of UTC days: asking Intl takes 10 µs, and a calendar asks often. */
const known = new Map<string, Map<number, number>>();

/** What has to be added to UTC to get the local clock at an instant, in milliseconds. */
export function offsetAt(zone: string, instant: number): number {
  if (zone === 'UTC') return 0;
  const day = Math.floor(instant / dayMs);
  const before = offsetOfDay(zone, day);
  return before === offsetOfDay(zone, day + 1) ? before : readClock(zone, instant);
}

function offsetOfDay(zone: string, day: number): number {
  const days = known.get(zone) ?? new Map<number, number>();
  known.set(zone, days);
  const offset = days.get(day) ?? readClock(zone, day * dayMs);
  days.set(day, offset);
  return offset;
}

function readClock(zone: string, instant: number): number {
  const whole = Math.floor(instant / 1000) * 1000;
  const parts: Record<string, number> = {};
  for (const { type, value } of clockOf(zone).formatToParts(whole)) parts[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
  return Date.UTC(year, month - 1, day, hour, minute, second) - whole;
}

export function localTime(zone: string, instant: number): LocalTime {
  const shifted = new Date(instant + offsetAt(zone, instant));
  return {
    year: shifted.getUTCFullYear(),
    month: shifted.getUTCMonth() + 1,
    day: shifted.getUTCDate(),
    hour: shifted.getUTCHours(),
    minute: shifted.getUTCMinutes(),
  };
}

/**
 * The instants at which a local clock shows a time: one as a rule, none when the clock was set forward over it, two in
 * order when it was set back over it.
 */
export function instantsOf(zone: string, { year, month, day, hour, minute }: LocalTime): number[] {
  const wall = Date.UTC(year, month - 1, day, hour, minute);
  // No clock differs from UTC by a day, so what is a day before and after in UTC is before and after here.
  const offsets = new Set([offsetAt(zone, wall - dayMs), offsetAt(zone, wall + dayMs)]);
  const shown = (offset: number) => offsetAt(zone, wall - offset) === offset;
  return [...offsets]
    .filter(shown)
    .map((offset) => wall - offset)
    .sort((a, b) => a - b);
}

/** Whole days since 1970-01-01 in the local calendar: a number to count and compare days by. */
export function dayNumber({ year, month, day }: LocalDate): number {
  return Date.UTC(year, month - 1, day) / dayMs;
}

export function dateOf(number: number): LocalDate {
  const date = new Date(number * dayMs);
  return { year: date.getUTCFullYear(), month: date.getUTCMonth() + 1, day: date.getUTCDate() };
}

/** 0 for Sunday to 6 for Saturday. */
export function weekdayOf(number: number): number {
  // 1970-01-01 was a Thursday.
  return (((number + 4) % 7) + 7) % 7;
}
