import { Failure, isFailure } from '../../policies/failure.ts';
import { keyName, keyNamePrefix, keyNumber, type SealedPoint } from '../../policies/recovery-point.ts';
import { readBytes, type Store } from '../stores/index.ts';
import { keyCheckOf, recipientsOf, unwrapKey, wrongIdentity } from './keys.ts';
import { readKeyHeader } from './rewrap.ts';

/** One of the objects `key.N.age` that lie beside a point: its key, wrapped (docs/format.md, section 3). */
export interface WrappedKey {
  name: string;
  wrapped: Buffer;
  /** Whom it is for: by backup.json of the first, by what they say themselves of later ones; empty when nothing says. */
  recipients: string[];
}

type Described = Pick<SealedPoint, 'id' | 'encryption'>;

export interface KeyPlace {
  store: Store;
  /** Of the point, ending in '/'; of an object of WAL, walKeysPrefix(). */
  prefix: string;
  backup: Described;
  /** `key.1.age`, where it does not lie there as an object but in what is signed. */
  first?: WrappedKey;
}

/** The names of the wrapped keys that lie beside a point, the newest first. */
export async function listKeys({ store, prefix }: Omit<KeyPlace, 'backup'>): Promise<string[]> {
  const names: string[] = [];
  for await (const { key } of store.list(prefix + keyNamePrefix)) {
    const name = key.slice(prefix.length);
    if (keyNumber(name) !== null) names.push(name);
  }
  return names.sort((a, b) => (keyNumber(b) ?? 0) - (keyNumber(a) ?? 0));
}

/** Reads one; what is too large to be one comes without its bytes. Throws ObjectMissing. */
export async function readWrappedKey({ store, prefix, backup, first }: KeyPlace, name: string): Promise<WrappedKey> {
  if (name === keyName && first) return first;
  const wrapped = await readBytes(store, prefix + name).catch((error: unknown) => {
    if (!isFailure(error, 'Corrupt')) throw error;
    return Buffer.alloc(0);
  });
  const recipients = name === keyName ? backup.encryption.recipients : (readKeyHeader(wrapped)?.recipients ?? []);
  return { name, wrapped, recipients };
}

/**
 * The point's key out of one of its wrapped keys. Anybody can wrap a key of their own for a public recipient, so what is
 * not the key that backup.json commits to is Corrupt. Throws KeyWrong when no identity given is among the recipients.
 */
export async function openWrappedKey(
  { prefix, backup }: Omit<KeyPlace, 'store'>,
  { name, wrapped, recipients }: WrappedKey,
  identity: string,
): Promise<Buffer> {
  if (readKeyHeader(wrapped) === null) throw corrupt(prefix + name, 'it is no age file');
  const key = await unwrapKey(wrapped, identity, recipients).catch((error: unknown) => {
    throw isFailure(error, 'Corrupt') ? corrupt(prefix + name, error.message) : error;
  });
  if (keyCheckOf(key, backup.id) === backup.encryption.keyCheck) return key;
  throw corrupt(prefix + name, 'it holds another key than the one that sealed the point');
}

/**
 * The point's key, by whichever of its wrapped keys opens: the first one, or those that rotation has laid beside it.
 * Throws KeyMissing, KeyWrong with the recipients of all of them, Corrupt.
 */
export async function openPointKey(place: KeyPlace, identity: string): Promise<Buffer> {
  const { store, prefix, backup } = place;
  const failures: Failure[] = [];
  const recipients = new Set<string>();
  const open = async (name: string): Promise<Buffer | null> => {
    try {
      const wrapped = await readWrappedKey(place, name);
      for (const recipient of wrapped.recipients) recipients.add(recipient);
      return await openWrappedKey(place, wrapped, identity);
    } catch (error) {
      if (!isFailure(error, 'ObjectMissing', 'KeyWrong', 'Corrupt')) throw error;
      if (error.type !== 'ObjectMissing') failures.push(error);
      return null;
    }
  };
  // The first one is nearly always there and enough: then nothing has to be listed.
  const first = await open(keyName);
  if (first) return first;
  for (const name of await listKeys(place)) {
    const key = name === keyName ? null : await open(name);
    if (key) return key;
  }
  const damaged = failures.find((f) => f.type === 'Corrupt');
  if (damaged) throw damaged;
  if (failures.length > 0) throw wrongIdentity(await recipientsOf(identity), [...recipients], failures[0]);
  throw new Failure(
    'KeyMissing',
    `The wrapped key of ${backup.id}, ${prefix}${keyName}, is missing in ${store.name}.`,
    {
      next: 'Use another copy of this recovery point.',
    },
  );
}

function corrupt(name: string, what: string): Failure {
  return new Failure('Corrupt', `${name} is damaged: ${what.replace(/\.$/, '')}.`, {
    next: 'Use another copy of this recovery point; "backupctl backup verify" shows which are good.',
  });
}
