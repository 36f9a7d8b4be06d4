import { bucketPolicy } from '../../policies/bucket-policy.ts';
import type { StoreAccess } from '../../policies/credentials.ts';
import { durationSeconds } from '../../policies/duration.ts';
import { Failure } from '../../policies/failure.ts';
import { longestLockMs } from '../../policies/lock.ts';
import type { Context } from '../context.ts';
import { copyPolicy } from '../names.ts';

export interface RightsOptions extends Record<StoreAccess, string> {
  aws: boolean;
}

const dayMs = 86_400_000;

/** Prints the bucket policy that gives each kind of access what it needs, for whoever sets up the bucket of a copy. */
export async function policyRights(
  context: Context,
  { name, aws, ...principals }: RightsOptions & { name: string },
): Promise<number | undefined> {
  const policy = await context.policy();
  const copy = copyPolicy(policy, name);
  if (copy.kind !== 's3') {
    throw new Failure('UsageInvalid', `${name} is a folder: it has no bucket policy.`, {
      next: 'Give its folder to the user of the workers, and to nobody else.',
    });
  }
  const { write, read, delete: remove, hold, rekey } = principals;
  const lockDaysMax = Math.ceil((longestLockMs(policy, copy) + durationSeconds(copy.deadline) * 1000) / dayMs) + 1;
  const document = bucketPolicy({
    bucket: copy.bucket,
    prefix: copy.prefix,
    principals: { write, read, delete: remove, hold, rekey },
    ...(aws ? { aws: { lockDaysMax } } : {}),
  });
  context.out.result(document, () => JSON.stringify(document, null, 2));
  return undefined;
}
