import { Failure, isFailure } from '../../policies/failure.ts';
import { keyName } from '../../policies/recovery-point.ts';
import { parseWalKey, type WalHeader, walOfWrappedKey, walPrefix } from '../../policies/wal-bundle.ts';
import { type KeyPlace, readWalHeader, readWrappedKey, type WrappedKey, walKeyPlace } from '../artifact/index.ts';
import { mergeLists, type Store } from '../stores/index.ts';
import {
  type Held,
  orFailed,
  type Rekeyed,
  type RekeyedCopy,
  sha256Of,
  type WrapAnewOptions,
  wrapAnew,
} from './wrap-anew.ts';

/** An object of WAL, the copies that hold it, and the wrapped keys that rotation has laid beside it in each. */
export interface WalInCopies {
  key: string;
  copies: { store: Store; names: string[] }[];
}

/**
 * Every object of a source's WAL that any store holds, in order of its key, behind `after`; streaming. Further wrapped
 * keys come right behind their object. Those of none, which an interrupted removal left, are passed over.
 */
export async function* walInCopies(
  stores: Store[],
  source: string,
  { after = null, onFailure }: { after?: string | null; onFailure: (store: Store, error: unknown) => void },
): AsyncGenerator<WalInCopies> {
  let object: WalInCopies | null = null;
  for await (const { key, stores: having } of mergeLists(stores, walPrefix(source), onFailure)) {
    const of = walOfWrappedKey(source, key);
    if (of === null) {
      if (object) yield object;
      const isNext = parseWalKey(source, key) !== null && (after === null || key > after);
      object = isNext ? { key, copies: having.map((store) => ({ store, names: [] })) } : null;
    } else if (of === object?.key) {
      const name = key.slice(key.lastIndexOf('/') + 1);
      for (const copy of object.copies) if (having.includes(copy.store)) copy.names.push(name);
    }
  }
  if (object) yield object;
}

export interface RekeyWalOptions extends WrapAnewOptions {
  source: string;
  object: WalInCopies;
  /** Public keys whose signature counts. */
  trusted: string[];
}

export interface RekeyedWal extends Rekeyed {
  /** Whom the key in the signed first line is for: it goes with the object only. */
  inLine: string[];
}

/**
 * Wraps the key of an object of WAL anew for the recipients, beside it in every copy; see wrapAnew, which does so for
 * points. What is in its line is the first of its keys, and never among `former`. Throws as readWalHeader and wrapAnew.
 */
export async function rekeyWal(options: RekeyWalOptions): Promise<RekeyedWal> {
  const { source, object } = options;
  const header = await readAnyHeader(options);
  const { recipients, key: wrapped } = header.encryption;
  const metadata = { 'db-name': source, ...(header.kind === 'range' ? { 'backup-date': header.until } : {}) };
  const failed: RekeyedCopy[] = [];
  const held: Held[] = [];
  for (const { store, names } of object.copies) {
    const place = walKeyPlace({ store, key: object.key }, header);
    const keys = await orFailed(store, failed, async () => [place.first, ...(await readKeys(place, names))]);
    if (!keys) continue;
    const firstSha256 = sha256Of(Buffer.from(wrapped, 'base64'));
    held.push({ ...place, keys, firstSha256, metadata, stored: () => store.head(object.key) });
  }
  const [first, ...others] = held;
  if (!first) {
    throw new Failure('StoreUnreachable', failed[0]?.error ?? `${object.key} is in no copy.`, {
      next: 'Try again, or leave that copy out.',
    });
  }
  const { copies, ...rekeyed } = await wrapAnew([first, ...others], options);
  const besides = copies.map((c) => ({ ...c, former: c.former.filter((name) => name !== keyName) }));
  return { ...rekeyed, inLine: recipients, copies: [...besides, ...failed] };
}

/** Whom the wrapped keys of an object of WAL are for, in one copy, by what they say. Throws as readWalHeader. */
export async function recipientsOfWal({ source, object, trusted }: WalReadingOptions): Promise<string[]> {
  const header = await readAnyHeader({ source, object, trusted });
  const found = new Set(header.encryption.recipients);
  for (const { store, names } of object.copies) {
    for (const { recipients } of await readKeys(walKeyPlace({ store, key: object.key }, header), names))
      for (const recipient of recipients) found.add(recipient);
  }
  return [...found];
}

type WalReadingOptions = Pick<RekeyWalOptions, 'source' | 'object' | 'trusted'>;

/** It is the same in every copy, so that one that is good will do. */
async function readAnyHeader({ source, object, trusted }: WalReadingOptions): Promise<WalHeader> {
  let failure: unknown;
  for (const { store } of object.copies) {
    try {
      return (await readWalHeader({ store, source, key: object.key, trusted })).header;
    } catch (error) {
      if (!isFailure(error)) throw error;
      failure = error;
    }
  }
  throw failure;
}

async function readKeys(place: KeyPlace, names: string[]): Promise<WrappedKey[]> {
  const keys: WrappedKey[] = [];
  for (const name of names) keys.push(await readWrappedKey(place, name));
  return keys;
}
