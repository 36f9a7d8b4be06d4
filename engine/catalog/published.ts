import { impossibleClaim } from '../../policies/claims.ts';
import { Failure, isFailure } from '../../policies/failure.ts';
import { type HoldNote, holdPrefix } from '../../policies/hold.ts';
import { type BackupJson, backupJsonName, keyNumber, pointPrefix, storedBytes } from '../../policies/recovery-point.ts';
import { parseBackupJson } from '../artifact/backup-json.ts';
import { readHoldNotes } from '../holds/index.ts';
import { type ListedObject, readBytes, type Store } from '../stores/index.ts';
import type { CopyRecord } from './catalog.ts';

/** A point as one store holds it. */
export interface Published {
  backup: BackupJson;
  copy: CopyRecord;
  /** The notes on legal holds that lie beside it, the oldest first. */
  holds: HoldNote[];
  /** The names of its wrapped keys. */
  keys: string[];
}

export interface ReadOptions {
  store: Store;
  /** Public keys whose signature makes a point count. */
  trusted: string[];
  /** Told of everything that lies there but does not count, by name and reason. */
  onProblem(problem: string): void;
  /** Only what lies below it, e.g. `shop/`; default: everything. */
  below?: string;
}

/** Points read at once: two small requests each, so this hides the way to the store. */
const ahead = 8;

/**
 * Every recovery point that counts in a store, in key order: its backup.json is where it belongs, verifies against a
 * trusted key and passed validation, and its objects are there with their sizes; of wrapped keys any one will do. Streams; throws what the store throws.
 */
export async function* publishedIn(options: ReadOptions): AsyncGenerator<Published> {
  const pending: Promise<Published | null>[] = [];
  for await (const folder of foldersOf(options.store, options.below)) {
    const reading = readFolder(options, folder.prefix, folder.sizes);
    // Awaited in order; a rejection meanwhile is not unhandled.
    reading.catch(() => {});
    pending.push(reading);
    if (pending.length < ahead) continue;
    const found = await pending.shift();
    if (found) yield found;
  }
  for (const reading of pending) {
    const found = await reading;
    if (found) yield found;
  }
}

/** One point as a store holds it; null where it does not lie there, or does not count. */
export async function publishedAt(options: ReadOptions, source: string, id: string): Promise<Published | null> {
  const prefix = pointPrefix(source, id);
  for await (const folder of foldersOf(options.store, prefix)) {
    if (folder.prefix === prefix) return readFolder(options, prefix, folder.sizes);
  }
  return null;
}

interface Folder {
  prefix: string;
  sizes: Map<string, number>;
}

/** The folders that hold a backup.json. A listing comes in key order, so what lies in one folder comes together. */
async function* foldersOf(store: Store, prefix = ''): AsyncGenerator<Folder> {
  let folder: Folder = { prefix: '', sizes: new Map() };
  for await (const object of store.list(prefix)) {
    const { dir, name } = cut(object);
    if (folder.prefix !== dir) {
      if (folder.sizes.has(backupJsonName)) yield folder;
      folder = { prefix: dir, sizes: new Map() };
    }
    folder.sizes.set(name, object.bytes);
  }
  if (folder.sizes.has(backupJsonName)) yield folder;
}

function cut({ key }: ListedObject): { dir: string; name: string } {
  const at = key.lastIndexOf('/') + 1;
  return { dir: key.slice(0, at), name: key.slice(at) };
}

async function readFolder(
  { store, trusted, onProblem }: ReadOptions,
  prefix: string,
  sizes: Map<string, number>,
): Promise<Published | null> {
  const key = prefix + backupJsonName;
  try {
    const backup = parseBackupJson(await readBytes(store, key), trusted);
    assertCounts(backup, prefix, sizes);
    // The very call that recording uses: a listing may tell the time more finely than a head.
    const { modifiedAt, lockedUntil, held } = await store.head(key);
    const impossible = impossibleClaim(backup, modifiedAt);
    if (impossible !== null) throw unfit('ValidationFailed', impossible);
    const { notes, problems } = hasNotes(sizes) ? await readHoldNotes(store, prefix) : { notes: [], problems: [] };
    problems.forEach(onProblem);
    return {
      backup,
      copy: {
        pointId: backup.id,
        copy: store.name,
        state: 'verified',
        bytes: storedBytes(backup),
        publishedAt: modifiedAt,
        verifiedAt: modifiedAt,
        lockedUntil,
        held,
        error: null,
      },
      holds: notes,
      keys: [...sizes.keys()].filter((name) => keyNumber(name) !== null),
    };
  } catch (error) {
    if (!isFailure(error, 'Corrupt', 'SignatureInvalid', 'FormatUnsupported', 'ObjectMissing', 'ValidationFailed'))
      throw error;
    onProblem(`${store.name}/${key} does not count: ${error.message}`);
    return null;
  }
}

function hasNotes(sizes: Map<string, number>): boolean {
  return [...sizes.keys()].some((name) => name.startsWith(holdPrefix));
}

function assertCounts(backup: BackupJson, prefix: string, sizes: Map<string, number>): void {
  const home = pointPrefix(backup.source.name, backup.id);
  if (home !== prefix) throw unfit('Corrupt', `it is that of ${home.slice(0, -1)}`);
  if (!backup.validation.passed) throw unfit('ValidationFailed', 'its validation had failed');
  for (const { name, role, bytes } of backup.objects) {
    const found = sizes.get(name);
    // Rotation may have put a later one in its place; whether that opens is for those to say who hold an identity.
    if (found === undefined && role === 'key' && [...sizes.keys()].some((other) => keyNumber(other) !== null)) continue;
    if (found === undefined) throw unfit('ObjectMissing', `its object ${name} is missing`);
    if (found !== bytes) throw unfit('Corrupt', `its object ${name} has ${found} bytes instead of ${bytes}`);
  }
}

function unfit(type: 'Corrupt' | 'ObjectMissing' | 'ValidationFailed', what: string): Failure {
  return new Failure(type, what, {
    next: 'Use another copy of this recovery point.',
  });
}
