import { z } from 'zod';
import { duration } from './duration.ts';

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
    .describe('What the server may keep for us, in bytes, while copies are behind. Beyond it, the slot is given up.'),
});
export type WalPolicy = z.infer<typeof walPolicy>;
