import { z } from 'zod';

export const duration = z
  .string()
  .regex(/^[1-9]\d{0,5}(s|m|h|d)$/, 'a number above 0 and a unit, e.g. 90s, 15m, 4h, 7d');

const unitSeconds = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

/** Seconds of a duration such as `15m`. The text has passed the schema. */
export function durationSeconds(text: string): number {
  const unit = text.slice(-1) as keyof typeof unitSeconds;
  return Number(text.slice(0, -1)) * unitSeconds[unit];
}
