import { z } from 'zod';
import { calendarPolicy } from './calendar-policy.ts';
import { duration } from './duration.ts';
import { type CopyPolicy, objectLock, type Policy } from './policy.ts';
import { retentionPolicy } from './retention-policy.ts';
import { tierPolicy } from './tier-policy.ts';

/**
 * What of a policy says how long points are kept, where, and at what cost. Kept beside the schedules when a policy is
 * applied, so that the next one can be compared with it: names and numbers, no reference to a secret.
 */
export const promised = z.object({
  calendar: calendarPolicy,
  retention: retentionPolicy,
  tiers: z.array(tierPolicy),
  /** Those with a calendar of their own. */
  calendars: z.array(z.object({ source: z.string(), calendar: calendarPolicy })),
  copies: z.array(
    z.object({
      name: z.string(),
      tier: z.string(),
      moves: z.array(z.string()),
      pruneAfter: duration.optional(),
      lock: objectLock.optional(),
    }),
  ),
});
export type Promised = z.infer<typeof promised>;

export function promisedBy({ calendar, retention, tiers, sources, copies }: Policy): Promised {
  return {
    calendar,
    retention,
    tiers,
    calendars: sources.flatMap((s) => (s.calendar ? [{ source: s.name, calendar: s.calendar }] : [])),
    copies: copies.map((copy) => ({
      name: copy.name,
      tier: copy.tier,
      moves: copy.moves.map((m) => m.to),
      ...(copy.pruneAfter === undefined ? {} : { pruneAfter: copy.pruneAfter }),
      ...(copy.kind === 's3' && copy.lock ? { lock: copy.lock } : {}),
    })),
  };
}

/** The policy of now with what was promised before: for its present sources, and those of its copies that were there. */
export function asPromised(policy: Policy, before: Promised): Policy {
  const { calendar, retention, tiers } = before;
  return {
    ...policy,
    calendar,
    retention,
    tiers,
    sources: policy.sources.map(({ calendar: _, ...source }) => {
      const own = before.calendars.find((c) => c.source === source.name)?.calendar;
      return own ? { ...source, calendar: own } : source;
    }),
    copies: policy.copies.flatMap((copy): CopyPolicy[] => {
      const was = before.copies.find((c) => c.name === copy.name);
      if (!was) return [];
      const { pruneAfter: _, ...rest } = copy;
      const changed = { tier: was.tier, ...(was.pruneAfter === undefined ? {} : { pruneAfter: was.pruneAfter }) };
      if (rest.kind === 'directory')
        return [{ ...rest, ...changed, moves: was.moves.map((to) => ({ to, path: '/' })) }];
      const { lock: __, ...bucket } = rest;
      const moves = was.moves.map((to) => ({ to, storageClass: to }));
      return [{ ...bucket, ...changed, moves, ...(was.lock ? { lock: was.lock } : {}) }];
    }),
  };
}
