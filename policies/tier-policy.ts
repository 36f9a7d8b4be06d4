import { z } from 'zod';
import { duration } from './duration.ts';
import { backupClass } from './recovery-point.ts';

/** The `tiers` of a policy file: kinds of storage, from the quickest to the cheapest, and what they cost. */

const dollars = z.number().min(0);

export const tierName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,30}$/, 'lower-case letters, digits and hyphens, at most 31');

export const tierPolicy = z.strictObject({
  name: tierName.describe('Its name, for `tier` and `moves` of copies.'),
  after: duration.optional().describe('Points older than this may move here; left out: from the beginning.'),
  classes: z.array(backupClass).min(1).optional().describe('Only points of these classes move here; left out: all.'),
  dollarsPerGbMonth: dollars.describe('For keeping 2^30 bytes for a month of 730.5 hours.'),
  minimumStorage: duration.optional().describe('What leaves earlier is paid for as if it had stayed this long.'),
  dollarsPerGbRetrieved: dollars.default(0).describe('For reading 2^30 bytes from here.'),
  dollarsPerGbEgress: dollars.default(0).describe('For taking 2^30 bytes away from here, over the network.'),
  thaw: duration.optional().describe('Until what lies here can be read; left out: at once.'),
});
export type TierPolicy = z.infer<typeof tierPolicy>;

/** Mission row F1; minimum durations, retrieval and thaw as AWS has them for S3-IA and Glacier Flexible Retrieval. */
export const usualTiers: z.input<typeof tierPolicy>[] = [
  { name: 'hot', dollarsPerGbMonth: 0.1 },
  { name: 'warm', after: '7d', dollarsPerGbMonth: 0.05 },
  {
    name: 'cold',
    after: '30d',
    dollarsPerGbMonth: 0.0125,
    minimumStorage: '30d',
    dollarsPerGbRetrieved: 0.01,
    dollarsPerGbEgress: 0.09,
  },
  {
    name: 'archive',
    after: '90d',
    classes: ['yearly'],
    dollarsPerGbMonth: 0.004,
    minimumStorage: '90d',
    dollarsPerGbRetrieved: 0.01,
    dollarsPerGbEgress: 0.09,
    thaw: '5h',
  },
];

export const tiersPolicy = z.array(tierPolicy).min(1).prefault(usualTiers);
