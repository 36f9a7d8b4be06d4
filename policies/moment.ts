import { z } from 'zod';
import { Failure } from './failure.ts';
import { lsnOf } from './wal.ts';
import type { RecoveryTarget } from './wal-plan.ts';

/** A moment of a cluster to come back to, as it travels through a workflow. */
export const moment = z.discriminatedUnion('kind', [
  /** As far as the archived WAL goes. */
  z.strictObject({ kind: z.literal('latest') }),
  z.strictObject({ kind: z.literal('time'), at: z.iso.datetime({ offset: true }) }),
  z.strictObject({ kind: z.literal('lsn'), lsn: z.string().regex(/^[0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8}$/) }),
  z.strictObject({ kind: z.literal('xid'), xid: z.int().min(3).max(0xffffffff) }),
  z.strictObject({ kind: z.literal('name'), name: z.string().min(1).max(63) }),
]);
export type Moment = z.infer<typeof moment>;

/** The moment that a person writes: a time, a position, `xid:NUMBER`, `name:TEXT` or `latest`. Throws UsageInvalid. */
export function parseMoment(text: string): Moment {
  const [, word, rest] = /^(xid|name):(.*)$/s.exec(text) ?? [];
  const wanted: unknown =
    text === 'latest'
      ? { kind: 'latest' }
      : word === 'xid'
        ? { kind: 'xid', xid: Number(rest) }
        : word === 'name'
          ? { kind: 'name', name: rest }
          : text.includes('/')
            ? { kind: 'lsn', lsn: text }
            : { kind: 'time', at: text.replace(/^(\d{4}-\d\d-\d\d) /, '$1T') };
  const parsed = moment.safeParse(wanted);
  if (parsed.success) return parsed.data;
  throw new Failure('UsageInvalid', `"${text}" is no moment to come back to.`, {
    next: 'Write a time with its zone (2026-01-02T03:04:05Z or …+01:00), a position (0/3000060), xid:NUMBER, name:TEXT, or latest.',
  });
}

/** For planning. */
export function targetOf(given: Moment): RecoveryTarget {
  return given.kind === 'lsn' ? { kind: 'lsn', lsn: lsnOf(given.lsn) } : given;
}
