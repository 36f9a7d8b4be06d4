import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { Failure, isFailure } from '../../policies/failure.ts';
import { keyName } from '../../policies/recovery-point.ts';
import { type FoundKey, lockOfKey, planRekey, sameRecipients } from '../../policies/rekey.ts';
import {
  isRewrapOf,
  type KeyPlace,
  openWrappedKey,
  recipientsOf,
  rewrapKey,
  type WrappedKey,
} from '../artifact/index.ts';
import { bytesSource, readBytes, type Store, type StoredObject } from '../stores/index.ts';

export interface WrapAnewOptions {
  /** age identity, or several, one a line. */
  identity: string;
  /** Whom it is to open for from now on, and nobody else by the new key. */
  recipients: string[];
  /** The mode in which a copy locks what it locks; undefined where it does not. */
  lockMode(copy: string): 'compliance' | 'governance' | undefined;
}

/** What was sealed, a point or an object of WAL, as one copy holds it. */
export interface Held extends KeyPlace {
  /** Every wrapped key that is there. */
  keys: WrappedKey[];
  /** SHA-256 of `key.1.age`, as it was signed for; later ones prove themselves by the key that they hold. */
  firstSha256: string | null;
  metadata: Record<string, string>;
  /** The object whose lock a wrapped key shares; asked for only where something is put. */
  stored(): Promise<Pick<StoredObject, 'lockedUntil'>>;
}

export interface RekeyedCopy {
  copy: string;
  /** `added`: the wrapped key was put now; `present`: it was there; `failed`: it is not there. */
  state: 'added' | 'present' | 'failed';
  error: string | null;
  /** The other wrapped keys there, by name. */
  former: string[];
}

export interface Rekeyed {
  /** The wrapped key that the present recipients open, in every copy that has not failed. */
  key: { name: string; sha256: string };
  /** It was opened just now, with an identity of one of the present recipients. */
  proven: boolean;
  copies: RekeyedCopy[];
}

/**
 * Sees to it that the recipients open what was sealed in all its copies, by a wrapped key that is the same in each: puts
 * it where it is lacking, beside the others, and reads it back. Touches no data and overwrites nothing; repeating it
 * changes nothing, and goes on where it was interrupted. A copy that fails does not keep the others from theirs.
 *
 * Gives others their turn between what takes milliseconds of arithmetic. Throws KeyMissing, KeyWrong, Corrupt when no
 * wrapped key of any copy opens.
 */
export async function wrapAnew(held: [Held, ...Held[]], options: WrapAnewOptions): Promise<Rekeyed> {
  const { recipients, identity } = options;
  const [first] = held;
  const { id } = first.backup;
  const key = await openAny(held, identity);
  await setImmediate();
  const found: (FoundKey & { wrapped: Buffer })[] = [];
  for (const one of held) {
    for (const wrapped of one.keys) found.push({ copy: one.store.name, ...(await judged(wrapped, one, key)) });
  }
  const plan = planRekey({ recipients, copies: held.map((h) => h.store.name), found });
  await setImmediate();
  const present = found.find((k) => k.name === plan.name && k.sha256 === plan.sha256);
  const wrapped = present?.wrapped ?? Buffer.from(await rewrapKey(key, id, recipients));
  const copies: RekeyedCopy[] = [];
  const failed: RekeyedCopy[] = [];
  for (const one of held) {
    const copy = one.store.name;
    const former = one.keys.map((k) => k.name).filter((name) => name !== plan.name);
    const isLacking = plan.lacking.includes(copy);
    const put = async () => {
      if (isLacking) await putKey(one, plan.name, wrapped, options.lockMode(copy));
      return true;
    };
    if (await orFailed(one.store, failed, put))
      copies.push({ copy, state: isLacking ? 'added' : 'present', error: null, former });
  }
  await setImmediate();
  return {
    key: { name: plan.name, sha256: sha256Of(wrapped) },
    proven: await opensFor(recipients, first, { name: plan.name, wrapped, recipients }, identity),
    copies: [...copies, ...failed],
  };
}

/** The key, by any wrapped key of any copy. What the last of them fails with is thrown when none opens. */
async function openAny(held: [Held, ...Held[]], identity: string): Promise<Buffer> {
  let failure: unknown = new Failure('KeyMissing', `${held[0].prefix} has no wrapped key in any copy.`, {
    next: 'Without one it cannot be opened. Look whether another copy, or a backup of the store, has one.',
  });
  for (const place of held) {
    for (const wrapped of place.keys) {
      try {
        return await openWrappedKey(place, wrapped, identity);
      } catch (error) {
        if (!isFailure(error, 'KeyWrong', 'Corrupt')) throw error;
        failure = error;
      }
    }
  }
  throw failure;
}

/** The first one is signed for; later ones prove themselves by the key. */
async function judged({ name, wrapped, recipients }: WrappedKey, { backup, firstSha256 }: Held, key: Buffer) {
  const sha256 = sha256Of(wrapped);
  const genuine = name === keyName ? sha256 === firstSha256 : await isRewrapOf(wrapped, key, backup.id);
  return { name, sha256, recipients, genuine, wrapped };
}

async function putKey(
  { store, prefix, metadata, stored }: Held,
  name: string,
  wrapped: Buffer,
  lockMode: ReturnType<WrapAnewOptions['lockMode']>,
): Promise<void> {
  const key = prefix + name;
  const lock = lockMode === undefined ? null : lockOfKey(lockMode, await stored(), await store.clock());
  await store.put(key, bytesSource(wrapped), { metadata, ...(lock ? { lock } : {}) });
  if (wrapped.equals(await readBytes(store, key))) return;
  throw new Failure('ChecksumMismatch', `${key} in ${store.name} reads back otherwise than it was put.`, {
    next: 'Nothing was removed. Look at the medium or the network, then run it again.',
  });
}

/** Whether one of the identities that are at hand is a present recipient's, and opens it. */
async function opensFor(
  recipients: string[],
  place: KeyPlace,
  wrapped: WrappedKey,
  identity: string,
): Promise<boolean> {
  for (const one of identity.split('\n').filter((line) => line.trim().startsWith('AGE-SECRET-KEY-'))) {
    if (!sameRecipients([...recipients, ...(await recipientsOf(one))], recipients)) continue;
    try {
      await openWrappedKey(place, wrapped, one);
      return true;
    } catch (error) {
      if (!isFailure(error, 'KeyWrong', 'Corrupt')) throw error;
    }
  }
  return false;
}

/** What is wrong with one copy is told of that copy; null then. */
export async function orFailed<T>(store: Store, failed: RekeyedCopy[], work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (!isFailure(error)) throw error;
    failed.push({ copy: store.name, state: 'failed', error: error.message, former: [] });
    return null;
  }
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
