import { createHash } from 'node:crypto';
import { Failure, isFailure } from '../../policies/failure.ts';
import { backupJsonName, keyNumber, pointPrefix } from '../../policies/recovery-point.ts';
import { sameRecipients } from '../../policies/rekey.ts';
import { listKeys, parseBackupJson, readWrappedKey } from '../artifact/index.ts';
import { readBytes, type Store } from '../stores/index.ts';

export interface RemoveKeysOptions {
  store: Store;
  source: string;
  id: string;
  trusted: string[];
  /** Whom the key that stays must be for. */
  recipients: string[];
  /** The wrapped key that stays, as it was opened. */
  keep: { name: string; sha256: string };
}

export interface RemovedKeys {
  removed: string[];
  /** What could not be removed, and why. */
  kept: { name: string; why: string }[];
}

/**
 * Takes away every wrapped key of a point in one copy but one, which must be there and say that it is for the
 * recipients. What the store has locked or holds stays, and is told. Idempotent. Throws UsageInvalid, and has removed
 * nothing, when the one that is to stay is not there as it was opened.
 */
export async function removeFormerKeys(options: RemoveKeysOptions): Promise<RemovedKeys> {
  const { store, source, id, trusted, recipients, keep } = options;
  const prefix = pointPrefix(source, id);
  const backup = parseBackupJson(await readBytes(store, prefix + backupJsonName), trusted);
  const names = await listKeys({ store, prefix });
  const stays = names.includes(keep.name) ? await readWrappedKey({ store, prefix, backup }, keep.name) : null;
  const sha256 = stays ? createHash('sha256').update(stays.wrapped).digest('hex') : null;
  if (keyNumber(keep.name) === null || sha256 !== keep.sha256 || !sameRecipients(stays?.recipients ?? [], recipients)) {
    throw new Failure('UsageInvalid', `${prefix}${keep.name} in ${store.name} is not the key that is to stay.`, {
      next: 'Nothing was removed. Run "backupctl key rotate" first.',
    });
  }
  const outcome: RemovedKeys = { removed: [], kept: [] };
  for (const name of names.filter((n) => n !== keep.name)) {
    try {
      await store.delete(prefix + name);
      outcome.removed.push(name);
    } catch (error) {
      if (!isFailure(error, 'StoreDenied')) throw error;
      outcome.kept.push({ name, why: await whyKept(store, prefix + name, error) });
    }
  }
  return outcome;
}

async function whyKept(store: Store, key: string, refusal: Failure): Promise<string> {
  const { lockedUntil, held } = await store.head(key);
  if (held) return 'a legal hold is on it';
  return lockedUntil === null ? refusal.message : `locked until ${lockedUntil}`;
}
