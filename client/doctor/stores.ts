import type { Store, StoreCapabilities } from '../../engine/stores/index.ts';
import { Failure } from '../../policies/failure.ts';
import { missingFor } from '../../policies/lock.ts';
import type { CopyPolicy } from '../../policies/policy.ts';
import { formatDuration } from '../../policies/progress.ts';
import type { Context } from '../context.ts';
import { examine, type Finding } from './check.ts';

/** Ages decide what expires: a clock that is off by more than this is worth mending. */
const skewMaxMs = 60_000;

/** Each store: it answers, what it has, and how its clock stands to ours. */
export async function examineStore(context: Pick<Context, 'store'>, copy: CopyPolicy): Promise<Finding[]> {
  const reach = await examine(`copy ${copy.name}`, async () => {
    const store = await context.store(copy.name);
    await store.check();
    const capabilities = await capabilitiesFor(copy, store);
    const has = Object.entries(capabilities)
      .filter(([, value]) => value)
      .map(([name]) => name);
    return `reachable; it has ${has.join(', ') || 'none of the optional capabilities'}`;
  });
  if (copy.kind !== 's3' || !copy.endpoint || !reach.ok) return [reach];
  return [reach, await examine(`clock of ${copy.name}`, () => compareClock(copy.endpoint ?? ''))];
}

/** What a store has. Throws CapabilityMissing when the policy of its copy needs more. */
export async function capabilitiesFor(copy: CopyPolicy, store: Store): Promise<StoreCapabilities> {
  const capabilities = await store.capabilities();
  const missing = missingFor(copy, capabilities);
  if (missing.length === 0) return capabilities;
  throw new Failure('CapabilityMissing', `The store of the copy "${copy.name}" lacks ${missing.join('; and ')}.`, {
    next: 'Make a bucket with Object Lock and name it, or take lock out of the policy of this copy.',
  });
}

/** From the Date header of any answer (RFC 9110, 6.6.1), which tells whole seconds. */
async function compareClock(endpoint: string): Promise<string> {
  const before = Date.now();
  const response = await fetch(endpoint, { method: 'HEAD', redirect: 'manual', signal: AbortSignal.timeout(5_000) });
  const theirs = Date.parse(response.headers.get('date') ?? '');
  if (Number.isNaN(theirs)) return 'the server does not tell the time';
  const skewMs = Math.abs(theirs + 500 - (before + Date.now()) / 2);
  if (skewMs <= skewMaxMs) return `within ${formatDuration(Math.max(1000, skewMs))} of ours`;
  throw new Failure('StoreUnreachable', `it differs from ours by ${formatDuration(skewMs)}`, {
    next: 'Set both by NTP: retention goes by the stores’ clocks, and requests signed with a wrong time are refused.',
  });
}
