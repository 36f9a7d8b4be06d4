import path from 'node:path';
import { Failure, isFailure } from '../../../policies/failure.ts';
import { factsOf, isGrowing } from '../put-source.ts';
import type { GrowingSource, PendingPut, PutOptions, PutSource, Store, StoredObject } from '../store.ts';
import type { Place } from './disk.ts';
import { codeOf, digest, ensureFolder, existing, syncFolder } from './files.ts';
import { fill, linked } from './fill.ts';
import { assertPlace, guarded } from './guard.ts';
import { readMeta, writeMeta } from './meta.ts';
import { pendingPath, readPending, removePending, removePendingOf, tokenFor, writePending } from './pending.ts';

type Puts = Pick<Store, 'put' | 'beginPut' | 'completePut' | 'abortPut'>;

/** Puts of a directory store: bytes gather in `.pending`, and appear by link(2), which never replaces what is there. */
export function createPuts(place: Place, objectPath: (key: string) => string, head: Store['head']): Puts {
  const { name, root, disk } = place;

  const puts: Puts = {
    async put(key, source, options) {
      return puts.completePut(await puts.beginPut(key, source, options));
    },

    async beginPut(key, source, options) {
      const target = objectPath(key);
      if (options.lock) throw cannot(name, 'lock objects');
      return guarded(place, key, async () => {
        options.signal?.throwIfAborted();
        if (await existing(disk, target)) return isThere(key, target, source, options);
        try {
          return await gather(key, target, source, options);
        } catch (error) {
          // Another put of this key came true meanwhile, and freed what was pending for it.
          if (codeOf(error) !== 'ENOENT' || !(await existing(disk, target))) throw error;
          return isThere(key, target, source, options);
        }
      });
    },

    async completePut(pending) {
      const target = objectPath(pending.key);
      return guarded(place, pending.key, async () => {
        await assertPlace(place);
        const record = await readPending(place, pending.token);
        if (await existing(disk, target)) return onlyIfSame(target, pending, record);
        if (record?.key !== pending.key) throw gone(name, pending.key);
        if (!record.whole) throw notWhole(name, pending.key);
        try {
          await publish(pendingPath(root, pending.token) ?? '', target);
        } catch (error) {
          // Another put of this key came true meanwhile; it may have freed what was pending for this one, too.
          const isThere = codeOf(error) === 'EEXIST' || (codeOf(error) === 'ENOENT' && (await existing(disk, target)));
          if (isThere) return onlyIfSame(target, pending, record);
          if (codeOf(error) !== 'ENOTDIR') throw error;
          // A name on the way is an object.
          await removePending(place, pending.token);
          throw taken(name, pending.key);
        }
        const { sha256, metadata, tags } = record;
        await writeMeta(place, pending.key, { sha256, metadata, tags, storedMs: Date.now() });
        await syncFolder(disk, path.dirname(target));
        await removePendingOf(place, pending.key);
        return head(pending.key);
      });
    },

    abortPut: (pending) =>
      guarded(place, pending.key, async () => {
        await assertPlace(place);
        await removePending(place, pending.token);
      }),
  };
  return puts;

  /** Nothing is to be put: the object is there, and the same. */
  async function isThere(
    key: string,
    target: string,
    source: PutSource | GrowingSource,
    { signal, metadata = {}, tags = {} }: PutOptions,
  ): Promise<PendingPut> {
    const promised = { key, ...(await factsOf(source, signal)) };
    await assertSame(target, promised);
    await healMeta(promised, { metadata, tags });
    return { ...promised, token: '' };
  }

  async function gather(
    key: string,
    target: string,
    source: PutSource | GrowingSource,
    options: PutOptions,
  ): Promise<PendingPut> {
    const { signal, metadata = {}, tags = {} } = options;
    if (await isBelowFile(target)) throw taken(name, key);
    const begun = isGrowing(source) ? notYetKnown : { bytes: source.bytes, sha256: source.sha256 };
    const token = await tokenFor(place, key, begun, options.resume);
    const record = { key, token, metadata, tags };
    await writePending(place, { ...record, ...begun, whole: false });
    const file = pendingPath(root, token) ?? '';
    const filling = { disk, file, token, said: `${name} (${root}), ${key}` };
    try {
      // Told at once: an attempt that dies must have told what to go on with.
      options.onProgress?.({ bytesDone: 0, bytesTotal: begun.bytes, resume: token });
      if (await linked(filling, source, signal)) {
        const { bytes } = await factsOf(source, signal);
        options.onProgress?.({ bytesDone: bytes, bytesTotal: bytes, resume: token });
      } else {
        await fill(filling, source, options);
      }
    } catch (error) {
      if (isFailure(error, 'ChecksumMismatch')) await removePending(place, token);
      throw error;
    }
    const facts = await factsOf(source, signal);
    await writePending(place, { ...record, ...facts, whole: true });
    return { key, token, ...facts };
  }

  /** Frees what is pending; the object there is the answer when its bytes are the same. */
  async function onlyIfSame(
    target: string,
    pending: PendingPut,
    about: { metadata: Record<string, string>; tags: Record<string, string> } | null,
  ): Promise<StoredObject> {
    await removePendingOf(place, pending.key);
    await assertSame(target, pending);
    await healMeta(pending, about ?? { metadata: {}, tags: {} });
    return head(pending.key);
  }

  async function assertSame(target: string, { key, bytes, sha256 }: Omit<PendingPut, 'token'>): Promise<void> {
    const found = await existing(disk, target);
    if (found?.isFile() && found.size === bytes && (await digest(disk, target)) === sha256) return;
    throw taken(name, key);
  }

  /** A crash between an object's appearing and its Meta leaves none, or that of an object that was deleted. */
  async function healMeta(
    { key, sha256 }: Omit<PendingPut, 'token'>,
    about: { metadata: Record<string, string>; tags: Record<string, string> },
  ): Promise<void> {
    if ((await readMeta(place, key)).sha256 === sha256) return;
    await writeMeta(place, key, { sha256, ...about, storedMs: Date.now() });
  }

  async function isBelowFile(target: string): Promise<boolean> {
    for (let at = path.dirname(target); at.length > root.length; at = path.dirname(at)) {
      const found = await existing(disk, at);
      if (found) return !found.isDirectory();
    }
    return false;
  }

  /** Gives the pending file its name. Throws EEXIST when there is another one, ENOTDIR when there is one above it. */
  async function publish(file: string, target: string): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        await ensureFolder(place, path.dirname(target));
        return await disk.link(file, target);
      } catch (error) {
        const code = codeOf(error) ?? '';
        if (code === 'EPERM' || code === 'ENOTSUP' || code === 'EOPNOTSUPP') throw noLinks(place, error);
        // Somebody removed the last object of the folder, and the folder with it, between the two lines.
        if (code !== 'ENOENT' || tries === 10 || !(await existing(disk, file))) throw error;
      }
    }
  }
}

/** Of a source that still grows. */
const notYetKnown = { bytes: 0, sha256: '' };

/** The store is a folder, and asked for what folders cannot do. */
export function cannot(store: string, what: string): Failure {
  return new Failure('CapabilityMissing', `${store} is a folder: it cannot ${what}.`, {
    next: 'Use a store that can, such as a bucket with Object Lock.',
  });
}

function taken(store: string, key: string): Failure {
  return new Failure('ObjectExists', `${key} is in ${store} already, with other content.`, {
    next: 'Nothing was overwritten. Objects are written once; use another key.',
  });
}

function gone(store: string, key: string): Failure {
  return new Failure('ObjectMissing', `${key} is not in ${store}, and what was pending for it is gone.`, {
    next: 'Put it again.',
  });
}

function notWhole(store: string, key: string): Failure {
  return new Failure('ChecksumMismatch', `${key}: not all of its bytes have arrived in ${store}.`, {
    next: 'Nothing was stored; it is tried again by itself.',
  });
}

function noLinks({ name, root }: Place, cause: unknown): Failure {
  return new Failure('CapabilityMissing', `${name}: the file system of ${root} has no hard links.`, {
    next: 'Use one that has, such as ext4 or XFS: objects appear by link(2), whole or not at all.',
    cause,
  });
}
