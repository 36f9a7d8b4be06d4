import { isUtf8 } from 'node:buffer';
import type { Dirent } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { Failure } from '../../../policies/failure.ts';
import { assertKey, isKey } from '../keys.ts';
import { fileSource } from '../put-source.ts';
import { assertRange, beyond } from '../range.ts';
import { steadyStream } from '../steady-stream.ts';
import type { ListedObject, Store, StoreCapabilities, StoredObject } from '../store.ts';
import { watchCalls } from './call-watch.ts';
import { findCapabilities } from './capabilities.ts';
import { type Disk, localDisk, type Place, watchedDisk } from './disk.ts';
import { codeOf, digest, entriesOf, existing, removeEmpty } from './files.ts';
import { asFailure, assertPlace, guarded } from './guard.ts';
import { readMeta, removeMeta, writeMeta } from './meta.ts';
import { pendingUnder } from './pending.ts';
import { cannot, createPuts } from './put.ts';
import { readStream } from './read-stream.ts';

export interface DirectoryStoreOptions {
  name: string;
  /** The folder, absolute. */
  path: string;
  /** A call to the file system that has not returned for so long is given up on. Default 90 s; an hour to sync. */
  silentMaxMs?: number;
  /** Default: this machine's. */
  disk?: Disk;
}

/** Less than the two minutes of the steps that take seconds: then it is they that say what the matter is. */
const defaultSilentMaxMs = 90_000;
/** Gigabytes that the system has gathered may be waiting for a slow disk. */
const syncMaxMs = 3_600_000;

/**
 * A store in a folder: an object is a plain file at its key, so that a person needs nothing to read it. What goes with
 * it (SHA-256, metadata, tags) lies in `.meta`, puts under way in `.pending`. An object appears by link(2), which never
 * replaces another one. Files on the same file system are linked instead of copied: sources of puts are immutable, and
 * every copy is read back and compared anyway. Where the folder is the place that a disk is mounted on, it is there also
 * when the disk is not: give a folder on the disk.
 */
export function createDirectoryStore(options: DirectoryStoreOptions): Store {
  const { name, path: root, silentMaxMs } = options;
  const watch = watchCalls({ name, root, silentMaxMs: silentMaxMs ?? defaultSilentMaxMs });
  const disk = watchedDisk(options.disk ?? localDisk, watch, silentMaxMs ?? syncMaxMs);
  const place: Place = { name, root, disk };
  const objectPath = (key: string) => {
    assertKey(key);
    return path.join(root, key);
  };
  let known: Promise<StoreCapabilities> | null = null;

  const store: Store = {
    name,
    kind: 'directory',

    capabilities: () => {
      known ??= guarded(place, '', () => findCapabilities(place));
      // A failed look is no answer; the next caller looks again.
      known.catch(() => {
        known = null;
      });
      return known;
    },

    check: () =>
      guarded(place, '', async () => {
        await assertPlace(place);
        await disk.readdir(root);
      }),

    // Files bear the time of the machine that writes them.
    clock: () =>
      guarded(place, '', async () => {
        await assertPlace(place);
        return new Date().toISOString();
      }),

    ...createPuts(place, objectPath, (key) => store.head(key)),

    async *listPending(prefix) {
      try {
        await assertPlace(place);
        yield* pendingUnder(place, prefix);
      } catch (error) {
        throw await asFailure(place, prefix, error);
      }
    },

    async get(key, range, signal) {
      const file = objectPath(key);
      assertRange(key, range);
      return guarded(place, key, async () => {
        signal?.throwIfAborted();
        const { size } = await mustExist(file, key);
        const start = range?.offset ?? 0;
        const end = Math.min(size, start + (range?.length ?? size));
        if (start > size || (start === size && size > 0)) throw beyond(`${key} in ${name}`, start);
        if (start === end) return Readable.from([], { objectMode: false });
        return steadyStream({
          bytes: end - start,
          body: readStream(await disk.open(file, 'r'), { start, end }),
          failure: (error) => damagedRead(place, key, error),
          signal,
        });
      });
    },

    head: (key) =>
      guarded(place, key, async (): Promise<StoredObject> => {
        const found = await mustExist(objectPath(key), key);
        const { sha256, metadata, storedMs } = await readMeta(place, key);
        return {
          key,
          bytes: found.size,
          modifiedAt: new Date(storedMs ?? found.mtimeMs).toISOString(),
          sha256,
          metadata,
          storageClass: null,
          sse: null,
          versionId: null,
          lockedUntil: null,
          held: false,
        };
      }),

    async *list(prefix) {
      try {
        await assertPlace(place);
        yield* walk('', prefix);
      } catch (error) {
        throw await asFailure(place, prefix, error);
      }
    },

    copy: (from, to) =>
      guarded(place, from, async () => {
        const file = objectPath(from);
        const { size: bytes } = await mustExist(file, from);
        const { sha256, metadata, tags } = await readMeta(place, from);
        const source = fileSource(file, { bytes, sha256: sha256 ?? (await digest(disk, file)) });
        return store.put(to, source, { metadata, tags });
      }),

    delete: (key) =>
      guarded(place, key, async () => {
        const file = objectPath(key);
        await assertPlace(place);
        const found = await existing(disk, file);
        if (found && !found.isDirectory()) await disk.rm(file);
        await removeMeta(place, key);
        await removeEmpty(place, path.dirname(file));
      }),

    setTags: (key, tags) =>
      guarded(place, key, async () => {
        const { mtimeMs } = await mustExist(objectPath(key), key);
        const meta = await readMeta(place, key);
        await writeMeta(place, key, { ...meta, storedMs: meta.storedMs ?? mtimeMs, tags });
      }),

    getTags: (key) =>
      guarded(place, key, async () => {
        await mustExist(objectPath(key), key);
        return (await readMeta(place, key)).tags;
      }),

    lock: async () => {
      throw cannot(name, 'lock objects');
    },
    hold: async () => {
      throw cannot(name, 'hold objects');
    },
    close: async () => {},
  };
  return store;

  async function* walk(folder: string, prefix: string): AsyncGenerator<ListedObject> {
    const entries = (await entriesOf(disk, path.join(root, folder))).filter(isNamed);
    // Key order is that of UTF-8 bytes with the '/' that follows a folder's name.
    const named = entries
      .map((e) => ({ isFolder: e.isDirectory(), key: `${folder}${e.name}${e.isDirectory() ? '/' : ''}` }))
      .sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
    for (const { isFolder, key } of named) {
      if (isFolder) {
        if (isKey(key.slice(0, -1)) && (key.startsWith(prefix) || prefix.startsWith(key))) yield* walk(key, prefix);
      } else if (key.startsWith(prefix) && isKey(key)) {
        const found = await existing(disk, path.join(root, key));
        // Deleted while the list was on its way.
        if (!found) continue;
        const { storedMs } = await readMeta(place, key);
        yield { key, bytes: found.size, modifiedAt: new Date(storedMs ?? found.mtimeMs).toISOString() };
      }
    }
  }

  async function mustExist(file: string, key: string) {
    const found = await existing(disk, file);
    if (found?.isFile()) return found;
    await assertPlace(place);
    throw new Failure('ObjectMissing', `${name} (${root}): ${key} is not there.`, {
      next: 'Use another copy; "backupctl catalog verify" shows what each holds.',
    });
  }
}

/** Files and folders whose names are text; links are somebody else's. */
function isNamed(entry: Dirent<Buffer>): boolean {
  return (entry.isFile() || entry.isDirectory()) && isUtf8(entry.name);
}

function damagedRead({ name }: Place, key: string, error: unknown): Failure {
  const reason = codeOf(error) ?? (error as Error).message;
  return new Failure('StoreUnreachable', `${key} cannot be read from ${name} to its end: ${reason}.`, {
    next: 'Look at the disk; it is tried again by itself.',
    cause: error,
  });
}
