import type { CopyPolicy, KeyPair } from './policy.ts';
import type { Role } from './queues.ts';

/**
 * What a holder of credentials may do in a store. `write`: put, and read back what was put. `read`: get and list.
 * `delete`: read and remove, never put. `hold`: set and lift legal holds, and note who did. `rekey`: read, and put wrapped
 * keys beside points. None of them may overwrite, shorten a lock, or change the bucket.
 */
export const storeAccesses = ['write', 'read', 'delete', 'hold', 'rekey'] as const;
export type StoreAccess = (typeof storeAccesses)[number];

/** What each role opens stores for; null for those that are given no store. */
export const accessOf: Record<Role, StoreAccess | null> = {
  coordination: 'read',
  backup: null,
  transfer: 'write',
  retention: 'delete',
  validation: 'read',
  recovery: 'read',
};

/** The references to a copy's credentials for an access; null where the default chain of the environment gives them. */
export function credentialsFor(copy: CopyPolicy, access: StoreAccess): KeyPair | null {
  if (copy.kind !== 's3') return null;
  const { accessKeyId, secretAccessKey } = copy;
  const forAll = accessKeyId && secretAccessKey ? { accessKeyId, secretAccessKey } : null;
  return copy.credentials[access] ?? forAll;
}
