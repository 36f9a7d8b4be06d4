import { z } from 'zod';
import { duration } from './duration.ts';
import { secretRef } from './secret-ref.ts';

const mib = 1024 * 1024;

/** The `wal` of a cluster in a policy file: that its write-ahead log is archived all the time, and how. */
export const walPolicy = z.strictObject({
  every: duration
    .default('30s')
    .describe('WAL is sealed and sent so long after it came, also before a segment is full: what a disaster may take.'),
  slotBytes: z
    .int()
    .min(64 * mib)
    .default(10 * 1024 * mib)
    .describe(
      'What the server may keep for us, in bytes, while copies are behind. From 80 % on only critical sources are backed up; beyond it, the slot is given up.',
    ),
  canary: z
    .strictObject({
      every: duration.default('1m').describe('How often a row is written.'),
      database: z.string().min(1).default('postgres').describe('The database in which its schema lies, backup_canary.'),
      user: z
        .string()
        .min(1)
        .optional()
        .describe('A role that owns that schema, or may create it. Left out: the one of the connection.'),
      password: secretRef.optional().describe('Reference to the password of that role, where it is another.'),
    })
    .optional()
    .describe('Rows that are written to a small table, and show what a disaster would take. Left out: none.'),
});
export type WalPolicy = z.infer<typeof walPolicy>;
