import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Failure, isFailure } from '../../../policies/failure.ts';
import { assertKey } from '../keys.ts';
import type { FilePutSource } from '../put-source.ts';
import type { ListedObject, PendingPut, Store, StoredObject } from '../store.ts';
import { codeOf, digest, ensureFolder, entriesOf, existing, removeEmpty, syncFolder } from './files.ts';
import { fill, linked } from './fill.ts';
import { guarded } from './guard.ts';
import { readMeta, readMetaText } from './meta.ts';

/**
 * A store in a folder: an object is a plain file at its key, so that a person needs nothing to read it. What goes with
 * it (SHA-256, metadata, tags) lies in `.meta/KEY.json`, puts under way in `.pending/TOKEN`. An object appears by
 * link(2), which never replaces another one. Files on the same file system are linked instead of copied: sources of
 * puts are immutable, and every copy is read back and compared anyway.
 */
export function createDirectoryStore({ name, path: root }: { name: string; path: string }): Store {
  const objectPath = (key: string) => {
    assertKey(key);
    return path.join(root, key);
  };
  const metaPath = (key: string) => path.join(root, metaName, `${key}.json`);
  const pendingPath = (token: string) => {
    if (!/^[0-9a-f]{32}$/.test(token)) throw unusable(`"${token.slice(0, 40)}" is no token of a pending put`);
    return path.join(root, pendingName, token);
  };

  const place = { name, root };

  const store: Store = {
    name,
    kind: 'directory',

    capabilities: async () => ({
      conditionalPut: true,
      checksums: true,
      resume: true,
      tags: true,
      metadata: true,
      storageClass: false,
      sse: false,
      lock: false,
      versioning: false,
    }),

    check: () =>
      guarded(place, async () => {
        const found = await stat(root);
        if (!found.isDirectory()) throw unusable(`${root} is not a folder`);
        await readdir(root);
      }),

    async put(key, source, options) {
      const pending = await store.beginPut(key, source, options);
      try {
        return await store.completePut(pending);
      } catch (error) {
        if (isFailure(error, 'ObjectExists')) await store.abortPut(pending);
        throw error;
      }
    },

    beginPut: (key, source, options) =>
      guarded(place, async () => {
        objectPath(key);
        options.signal?.throwIfAborted();
        const token = options.resume ?? randomBytes(16).toString('hex');
        const file = pendingPath(token);
        const pending: PendingPut = { key, bytes: source.bytes, sha256: source.sha256, token };
        // Not recursive: when the disk is not mounted, nothing is to be written where it would be.
        await ensureFolder(path.dirname(file));
        await writeFile(
          `${file}.json`,
          JSON.stringify({ ...pending, metadata: options.metadata ?? {}, tags: options.tags ?? {} }),
          {
            mode: 0o600,
          },
        );
        if (!(await linked(source, file))) await fill(name, file, source, token, options);
        return pending;
      }),

    completePut: (pending) =>
      guarded(place, async () => {
        const file = pendingPath(pending.token);
        const target = objectPath(pending.key);
        const there = await existing(target);
        if (there === null) {
          const about = await readFile(`${file}.json`, 'utf8');
          await mkdir(path.dirname(target), { recursive: true, mode: 0o700 });
          await mkdir(path.dirname(metaPath(pending.key)), { recursive: true, mode: 0o700 });
          try {
            await link(file, target);
            const meta = { ...JSON.parse(about), storedMs: Date.now() };
            await writeFile(metaPath(pending.key), JSON.stringify(meta), { mode: 0o600 });
            await syncFolder(path.dirname(target));
          } catch (error) {
            if (codeOf(error) !== 'EEXIST') throw error;
            await assertSame(target, pending);
          }
        } else {
          await assertSame(target, pending);
        }
        await store.abortPut(pending);
        return store.head(pending.key);
      }),

    abortPut: (pending) =>
      guarded(place, async () => {
        await rm(pendingPath(pending.token), { force: true });
        await rm(`${pendingPath(pending.token)}.json`, { force: true });
      }),

    async *listPending(prefix) {
      const folder = path.join(root, pendingName);
      for (const file of await entriesOf(folder)) {
        if (!file.name.endsWith('.json')) continue;
        const about = path.join(folder, file.name);
        const pending = JSON.parse(await readFile(about, 'utf8')) as PendingPut;
        if (!pending.key.startsWith(prefix)) continue;
        const { key, bytes, sha256, token } = pending;
        yield { key, bytes, sha256, token, startedAt: (await stat(about)).mtime.toISOString() };
      }
    },

    get: (key, range, signal) =>
      guarded(place, async () => {
        const file = objectPath(key);
        const { size } = await mustExist(file, key);
        const offset = range?.offset ?? 0;
        const end = Math.min(size, offset + (range?.length ?? size));
        if (offset > size || (offset === size && size > 0)) throw beyond(key, offset, size);
        const options = { start: offset, end: Math.max(offset, end - 1), highWaterMark: 1024 * 1024 };
        return createReadStream(file, { ...options, ...(signal ? { signal } : {}) });
      }),

    head: (key) =>
      guarded(place, async (): Promise<StoredObject> => {
        const found = await mustExist(objectPath(key), key);
        const meta = await readMeta(metaPath(key));
        return {
          key,
          bytes: found.size,
          modifiedAt: new Date(meta.storedMs ?? found.mtimeMs).toISOString(),
          sha256: meta.sha256,
          metadata: meta.metadata,
          storageClass: null,
          sse: null,
          versionId: null,
          lockedUntil: null,
          held: false,
        };
      }),

    list: (prefix) => walk('', prefix),

    async copy(from, to) {
      const { bytes, sha256, metadata } = await store.head(from);
      const source: FilePutSource = {
        path: objectPath(from),
        bytes,
        sha256: sha256 ?? (await digest(objectPath(from))),
        open: (start, length) => createReadStream(objectPath(from), { start, end: start + length - 1 }),
      };
      return store.put(to, source, { metadata });
    },

    delete: (key) =>
      guarded(place, async () => {
        const file = objectPath(key);
        await rm(file, { force: true });
        await rm(metaPath(key), { force: true });
        await removeEmpty(path.dirname(file), root);
        await removeEmpty(path.dirname(metaPath(key)), root);
      }),

    setTags: (key, tags) =>
      guarded(place, async () => {
        await mustExist(objectPath(key), key);
        const about = await readMetaText(metaPath(key));
        await writeFile(metaPath(key), JSON.stringify({ ...about, tags }), { mode: 0o600 });
      }),

    getTags: (key) =>
      guarded(place, async () => {
        await mustExist(objectPath(key), key);
        return (await readMeta(metaPath(key))).tags;
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
    const entries = await entriesOf(path.join(root, folder));
    // Key order is that of UTF-8 bytes with the '/' that follows a folder's name.
    const named = entries
      .filter((e) => !(folder === '' && e.name.startsWith('.')))
      .map((e) => ({ isFolder: e.isDirectory(), key: folder + e.name + (e.isDirectory() ? '/' : '') }))
      .sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
    for (const { isFolder, key } of named) {
      if (isFolder) {
        if (key.startsWith(prefix) || prefix.startsWith(key)) yield* walk(key, prefix);
      } else if (key.startsWith(prefix)) {
        const { bytes, modifiedAt } = await store.head(key);
        yield { key, bytes, modifiedAt };
      }
    }
  }
}

const metaName = '.meta';
const pendingName = '.pending';

async function assertSame(file: string, pending: PendingPut): Promise<void> {
  const { size } = await stat(file);
  if (size === pending.bytes && (await digest(file)) === pending.sha256) return;
  throw new Failure('ObjectExists', `${pending.key} is there already, with other content.`, {
    next: 'Nothing was overwritten. Objects are written once; use another key.',
  });
}

async function mustExist(file: string, key: string) {
  const found = await existing(file);
  if (found?.isFile()) return found;
  throw new Failure('ObjectMissing', `${key} is not there.`, {
    next: 'Use another copy; "backupctl catalog verify" shows what each holds.',
  });
}

function unusable(what: string): Failure {
  return new Failure('UsageInvalid', `${what}.`, { next: 'Correct the path in the policy file.' });
}

function beyond(key: string, offset: number, size: number): Failure {
  return new Failure('UsageInvalid', `${key} has ${size} bytes; byte ${offset} was asked for.`, {
    next: 'Ask for a range within it.',
  });
}

function cannot(store: string, what: string): Failure {
  return new Failure('CapabilityMissing', `${store} is a folder: it cannot ${what}.`, {
    next: 'Use a store that can, such as a bucket with Object Lock.',
  });
}
