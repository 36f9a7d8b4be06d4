import { createHash } from 'node:crypto';
import { Failure, isFailure } from '../../policies/failure.ts';
import { type BackupJson, backupJsonName, keyName, pointPrefix } from '../../policies/recovery-point.ts';
import { type FoundKey, lockOfKey, planRekey, sameRecipients } from '../../policies/rekey.ts';
import {
  isRewrapOf,
  listKeys,
  openWrappedKey,
  parseBackupJson,
  readWrappedKey,
  recipientsOf,
  rewrapKey,
  type WrappedKey,
} from '../artifact/index.ts';
import { bytesSource, readBytes, type Store, type StoredObject } from '../stores/index.ts';

export interface RekeyOptions {
  /** Copies that may hold the point. */
  stores: Store[];
  source: string;
  id: string;
  /** Public keys whose signature counts. */
  trusted: string[];
  /** age identity, or several, one a line. */
  identity: string;
  /** Whom the point is to open for from now on, and nobody else by the new key. */
  recipients: string[];
  /** The mode in which a copy locks what it locks; undefined where it does not. */
  lockMode(copy: string): 'compliance' | 'governance' | undefined;
}

export interface RekeyedCopy {
  copy: string;
  /** `added`: the wrapped key was put now; `present`: it was there; `failed`: it is not there. */
  state: 'added' | 'present' | 'failed';
  error: string | null;
  /** The other wrapped keys there, by name. */
  former: string[];
}

export interface RekeyedPoint {
  pointId: string;
  /** The wrapped key that the present recipients open, in every copy that has not failed. */
  key: { name: string; sha256: string };
  /** It was opened just now, with an identity of one of the present recipients. */
  proven: boolean;
  /** Those that hold the point. */
  copies: RekeyedCopy[];
}

interface Held {
  store: Store;
  backup: BackupJson;
  /** As it lies there: backup.json. */
  stored: StoredObject;
  keys: WrappedKey[];
}

/**
 * Sees to it that the recipients open a point in all its copies, by a wrapped key that is the same in each: puts it where
 * it is lacking, beside the others, and reads it back. Touches no data and overwrites nothing; repeating it changes
 * nothing, and goes on where it was interrupted. A copy that fails does not keep the others from theirs.
 *
 * Throws PointUnknown when no copy holds it, KeyMissing, KeyWrong, Corrupt when no wrapped key of any copy opens.
 */
export async function rekeyPoint(options: RekeyOptions): Promise<RekeyedPoint> {
  const { stores, source, id, recipients, identity } = options;
  const prefix = pointPrefix(source, id);
  const failed: RekeyedCopy[] = [];
  const held: Held[] = [];
  for (const store of stores) {
    const found = await orFailed(store, failed, () => readHeld(store, options, prefix));
    if (found) held.push(found);
  }
  const [first] = held;
  if (!first) {
    if (failed[0])
      throw new Failure('StoreUnreachable', failed[0].error ?? '', { next: 'Try again, or leave that copy out.' });
    throw new Failure('PointUnknown', `No copy holds a recovery point ${id} of ${source}.`, {
      next: '"backupctl backup list" shows the points and where each lies.',
    });
  }
  const key = await openAny(held, prefix, identity);
  const found: (FoundKey & { wrapped: Buffer })[] = [];
  for (const { store, backup, keys } of held) {
    for (const wrapped of keys) found.push({ copy: store.name, ...(await judged(wrapped, backup, key)) });
  }
  const plan = planRekey({ recipients, copies: held.map((h) => h.store.name), found });
  const present = found.find((k) => k.name === plan.name && k.sha256 === plan.sha256);
  const wrapped = present?.wrapped ?? Buffer.from(await rewrapKey(key, id, recipients));
  const copies: RekeyedCopy[] = [];
  for (const { store, backup, stored, keys } of held) {
    const former = keys.map((k) => k.name).filter((name) => name !== plan.name);
    const isLacking = plan.lacking.includes(store.name);
    const put = async () => {
      if (isLacking) await putKey(store, prefix + plan.name, wrapped, backup, stored, options.lockMode(store.name));
      return true;
    };
    if (await orFailed(store, failed, put))
      copies.push({ copy: store.name, state: isLacking ? 'added' : 'present', error: null, former });
  }
  return {
    pointId: id,
    key: { name: plan.name, sha256: sha256Of(wrapped) },
    proven: await opensFor(recipients, first.backup, { name: plan.name, wrapped, recipients }, identity, prefix),
    copies: [...copies, ...failed],
  };
}

/** Null when the copy does not hold the point. */
async function readHeld(store: Store, { trusted, id, source }: RekeyOptions, prefix: string): Promise<Held | null> {
  let stored: StoredObject;
  try {
    // A folder whose disk is away is not one that lacks the point.
    await store.check();
    stored = await store.head(prefix + backupJsonName);
  } catch (error) {
    if (isFailure(error, 'ObjectMissing')) return null;
    throw error;
  }
  const backup = parseBackupJson(await readBytes(store, prefix + backupJsonName), trusted);
  if (backup.id !== id || backup.source.name !== source) {
    throw new Failure('Corrupt', `${prefix}${backupJsonName} is that of ${backup.source.name}/${backup.id}.`, {
      next: 'Find out who laid it there.',
    });
  }
  const keys: WrappedKey[] = [];
  for (const name of await listKeys({ store, prefix }))
    keys.push(await readWrappedKey({ store, prefix, backup }, name));
  return { store, backup, stored, keys };
}

/** The point's key, by any wrapped key of any copy. What the last of them fails with is thrown when none opens. */
async function openAny(held: Held[], prefix: string, identity: string): Promise<Buffer> {
  let failure: unknown = new Failure('KeyMissing', `${prefix} has no wrapped key in any copy.`, {
    next: 'Without one it cannot be opened. Look whether another copy, or a backup of the store, has one.',
  });
  for (const { backup, keys } of held) {
    for (const wrapped of keys) {
      try {
        return await openWrappedKey({ prefix, backup }, wrapped, identity);
      } catch (error) {
        if (!isFailure(error, 'KeyWrong', 'Corrupt')) throw error;
        failure = error;
      }
    }
  }
  throw failure;
}

/** The first one is signed for, by its SHA-256; later ones prove themselves by the point's key. */
async function judged({ name, wrapped, recipients }: WrappedKey, backup: BackupJson, key: Buffer) {
  const sha256 = sha256Of(wrapped);
  const signedFor = backup.objects.some((o) => o.role === 'key' && o.name === name && o.sha256 === sha256);
  const genuine = name === keyName ? signedFor : await isRewrapOf(wrapped, key, backup.id);
  return { name, sha256, recipients, genuine, wrapped };
}

async function putKey(
  store: Store,
  key: string,
  wrapped: Buffer,
  backup: BackupJson,
  stored: StoredObject,
  lockMode: ReturnType<RekeyOptions['lockMode']>,
): Promise<void> {
  const lock = lockOfKey(lockMode, stored, await store.clock());
  const metadata = { 'backup-date': backup.capturedAt, 'db-name': String(backup.facts.database ?? backup.source.name) };
  await store.put(key, bytesSource(wrapped), { metadata, ...(lock ? { lock } : {}) });
  if (wrapped.equals(await readBytes(store, key))) return;
  throw new Failure('ChecksumMismatch', `${key} in ${store.name} reads back otherwise than it was put.`, {
    next: 'Nothing was removed. Look at the medium or the network, then run it again.',
  });
}

/** Whether one of the identities that are at hand is a present recipient's, and opens it. */
async function opensFor(
  recipients: string[],
  backup: BackupJson,
  wrapped: WrappedKey,
  identity: string,
  prefix: string,
): Promise<boolean> {
  for (const one of identity.split('\n').filter((line) => line.trim().startsWith('AGE-SECRET-KEY-'))) {
    if (!sameRecipients([...recipients, ...(await recipientsOf(one))], recipients)) continue;
    try {
      await openWrappedKey({ prefix, backup }, wrapped, one);
      return true;
    } catch (error) {
      if (!isFailure(error, 'KeyWrong', 'Corrupt')) throw error;
    }
  }
  return false;
}

/** What is wrong with one copy is told of that copy; null then. */
async function orFailed<T>(store: Store, failed: RekeyedCopy[], work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (!isFailure(error)) throw error;
    failed.push({ copy: store.name, state: 'failed', error: error.message, former: [] });
    return null;
  }
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
