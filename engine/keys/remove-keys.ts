import { Failure, isFailure } from '../../policies/failure.ts';
import { backupJsonName, keyNumber, pointPrefix } from '../../policies/recovery-point.ts';
import { sameRecipients } from '../../policies/rekey.ts';
import {
  type KeyPlace,
  listKeys,
  parseBackupJson,
  readWalHeader,
  readWrappedKey,
  walKeyPlace,
} from '../artifact/index.ts';
import { readBytes, type Store } from '../stores/index.ts';
import { sha256Of } from './wrap-anew.ts';

export interface RemoveKeysOptions {
  store: Store;
  source: string;
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
export async function removeFormerKeys(options: RemoveKeysOptions & { id: string }): Promise<RemovedKeys> {
  const { store, source, id, trusted } = options;
  const prefix = pointPrefix(source, id);
  const backup = parseBackupJson(await readBytes(store, prefix + backupJsonName), trusted);
  return removeAllBut({ store, prefix, backup }, options);
}

/** The same for an object of WAL. The wrapped key in its signed first line goes with the object only. */
export async function removeFormerWalKeys(options: RemoveKeysOptions & { key: string }): Promise<RemovedKeys> {
  const { header } = await readWalHeader(options);
  return removeAllBut(walKeyPlace(options, header), options);
}

async function removeAllBut(
  place: KeyPlace,
  { recipients, keep }: Pick<RemoveKeysOptions, 'recipients' | 'keep'>,
): Promise<RemovedKeys> {
  const { store, prefix, first } = place;
  const names = await listKeys(place);
  const isThere = names.includes(keep.name) || first?.name === keep.name;
  const stays = isThere ? await readWrappedKey(place, keep.name) : null;
  const sha256 = stays ? sha256Of(stays.wrapped) : null;
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
