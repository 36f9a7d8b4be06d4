import type { Store } from '../engine/stores/index.ts';
import type { Policy } from '../policies/policy.ts';

/** The copy's own store first, then those of all others, in the order of the policy. */
export async function storesOf(
  { policy, store }: { policy: Policy; store(copy: string): Promise<Store> },
  copy: string,
): Promise<[Store, ...Store[]]> {
  const others = policy.copies.filter((c) => c.name !== copy);
  return [await store(copy), ...(await Promise.all(others.map((c) => store(c.name))))];
}
