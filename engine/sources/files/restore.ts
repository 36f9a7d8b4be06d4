import path from 'node:path';
import { Failure, isFailure } from '../../../policies/failure.ts';
import { answers, asTargetSilence } from '../../answering.ts';
import {
  type Block,
  type Entry,
  type EntryWithBlocks,
  type ExtractTarget,
  extract,
  type FileOwn,
  type PointReader,
} from '../../artifact/index.ts';
import type { RestoreOptions, RestoreResult } from '../source.ts';
import { createGuard } from './guard.ts';
import { yieldToLoop } from './loop.ts';
import { createPlacing } from './place.ts';
import { inTree, latin1 } from './raw-path.ts';
import { openTarget, stagedTarget, type Target } from './target.ts';
import { createUnfinished } from './unfinished.ts';
import { createFilter } from './walk.ts';

export interface Placement {
  /**
   * Folders of the tree that go elsewhere: their paths within it, and the absolute folders, absent or empty, that
   * symbolic links there will lead to.
   */
  elsewhere?: ReadonlyMap<string, string>;
  /** Whose everything becomes when we are root, instead of the owners that were captured. */
  owner?: { uid: number; gid: number } | null;
  /** Bytes of entries to keep rather than read the manifest once more; for tests of the edge. */
  keptBytes?: number;
  /** Whether contents are begun to be written to the disk as they come, for who will wait for it afterwards. */
  writeBehind?: boolean;
  /**
   * What is still to be done with the files: until it is, they count as half-written, and go when it fails. Returns what the
   * restore has come to.
   */
  complete?: (restored: RestoreResult) => Promise<RestoreResult>;
}

/**
 * Puts a tree back into a folder that is absent or empty: folders and contents first (contents in parallel), then
 * links, owners, modes, attributes and times, folders' own last. Owners are set when we are root. Whatever was written
 * is removed when it fails, or, when it was killed, by the next attempt of the same job. Throws TargetNotEmpty,
 * TargetUnusable, Corrupt.
 */
export async function restoreTree(
  point: PointReader,
  options: RestoreOptions,
  placement: Placement = {},
): Promise<RestoreResult> {
  const into = path.resolve(options.into);
  const job = options.job ?? null;
  let target: Target | null = null;
  try {
    // A restore that is no job's is one of our own, on the staging disk.
    target = job === null ? stagedTarget() : openTarget(into);
    const before = await target.call('claim', { folders: [into, ...(placement.elsewhere?.values() ?? [])], job });
    if (before) return before;
    const written = await write(point, into, options, placement, target);
    const restored = placement.complete ? await placement.complete(written) : written;
    await target.call('finish', restored);
    return restored;
  } catch (error) {
    // What does not answer is asked nothing; whoever cleans up later does.
    if (job === null || answers(into)) await target?.call('undo');
    throw asTargetFailure(error, into);
  } finally {
    target?.close();
  }
}

async function write(
  point: PointReader,
  into: string,
  options: RestoreOptions,
  { elsewhere, owner, writeBehind = false, keptBytes }: Placement,
  target: Target,
): Promise<RestoreResult> {
  const filtered = options.paths !== undefined && options.paths.length > 0;
  const filter = createFilter(options.paths ?? [], []);
  const selects = (p: Uint8Array) => filter(Buffer.from(p).toString()) === 'yes';
  const wanted = (entry: Entry) => selects(entry.path);
  const result: RestoreResult = { entries: 0, bytes: 0, warnings: [] };
  const { place, moved } = createPlaces(into, elsewhere ?? new Map());
  const at = (p: Uint8Array) => latin1(place(p));
  const placing = createPlacing(
    (steps) => target.call('place', steps),
    (line) => {
      if (result.warnings.length < 100) result.warnings.push(line);
    },
  );
  const breathe = yieldToLoop();
  const isRoot = process.getuid?.() === 0;
  /** What the pass over contents leaves to be finished. */
  const unfinished = createUnfinished(keptBytes);
  /** First names that were not asked for, by path, with the first asked-for name of the same file. */
  const orphans = new Map<string, Uint8Array>();

  async function* contents(): AsyncGenerator<ExtractTarget> {
    const guard = createGuard();
    for await (const entry of point.entries()) {
      options.signal.throwIfAborted();
      guard(entry);
      await breathe();
      if (!wanted(entry)) continue;
      if (filtered) await placeParent(entry.path);
      result.entries++;
      let isFinished = false;
      switch (entry.type) {
        case 'directory':
          if (moved(entry.path))
            await placing.add({ do: 'symlink', at: latin1(inTree(into, entry.path)), to: at(entry.path) });
          else if (entry.path.length > 0) await placing.add({ do: 'folder', at: at(entry.path), isDeep: filtered });
          break;
        case 'file':
          isFinished = yield* blocksOf(entry, place(entry.path), ownOf(entry));
          break;
        case 'hardlink':
          if (filtered && entry.link && !selects(entry.link) && !orphans.has(latin1(entry.link))) {
            orphans.set(latin1(entry.link), entry.path);
          }
          break;
        case 'symlink':
          await placing.add({ do: 'symlink', at: at(entry.path), to: latin1(entry.link ?? Buffer.alloc(0)) });
          break;
        default: {
          const { type, mode, rdev = { major: 0, minor: 0 } } = entry;
          await placing.add({ do: 'node', at: at(entry.path), type, mode, rdev });
        }
      }
      if (!isFinished) unfinished.add(entry);
    }
  }

  /** Returns whether the thread that writes the content also sets everything else. */
  async function* blocksOf(
    entry: EntryWithBlocks,
    file: Buffer,
    own?: FileOwn,
  ): AsyncGenerator<ExtractTarget, boolean> {
    let fileOffset = 0;
    let isFinished = false;
    await placing.settleFolders();
    for await (const block of entry.blocks) {
      const target = { block, path: file, fileOffset, sparse: entry.sparse && !entry.streamed ? entry.size : null };
      isFinished = own !== undefined && isWhole(block, entry);
      yield own && isFinished ? { ...target, own } : target;
      fileOffset += block.bytes;
    }
    if (!entry.streamed && fileOffset !== entry.size) {
      const name = Buffer.from(entry.path).toString();
      throw new Failure('Corrupt', `The blocks of ${name} hold ${fileOffset} bytes, its entry names ${entry.size}.`, {
        next: 'Use another copy of this recovery point; "backupctl backup verify" shows which are good.',
      });
    }
    // Files with content are made by the threads that write it: made here, every one would wait for its folder's lock
    // while they hold it.
    if (fileOffset > 0) return isFinished;
    await placing.add({ do: 'empty file', at: latin1(file) });
    return false;
  }

  /** Of some paths only, a folder may not have been asked for, and hold what was. */
  async function placeParent(p: Uint8Array): Promise<void> {
    const end = Buffer.from(p).lastIndexOf(0x2f);
    if (end > 0) await placing.add({ do: 'folder', at: latin1(inTree(into, p.subarray(0, end))), isDeep: true });
  }

  const onProgress = (bytes: number) => {
    result.bytes += bytes;
    options.onProgress({
      bytesDone: result.bytes,
      bytesTotal: point.backup.content.sourceBytes,
      entriesDone: result.entries,
    });
  };
  const extracting = { writeBehind, signal: options.signal, onProgress };
  await extract(point, contents(), extracting);
  if (orphans.size > 0) {
    await extract(point, orphaned(), extracting);
  }

  async function* orphaned(): AsyncGenerator<ExtractTarget> {
    for await (const entry of point.entries()) {
      const heir = orphans.get(latin1(entry.path));
      if (heir) yield* blocksOf(entry, place(heir));
    }
  }

  await finish();
  if (filtered && result.entries === 0)
    result.warnings.push(`nothing of ${point.backup.id} matches ${options.paths?.join(', ')}`);
  return result;

  /** Second pass: links, and everything but content. A folder's own comes after all it holds. */
  async function finish(): Promise<void> {
    const open: { entry: Entry; prefix: Buffer }[] = [];
    const leave = async (next: Uint8Array | null) => {
      for (let last = open.at(-1); last; last = open.at(-1)) {
        const inside =
          next && (last.prefix.length === 0 || Buffer.from(next).subarray(0, last.prefix.length).equals(last.prefix));
        if (inside) return;
        open.pop();
        await apply(last.entry, place(last.entry.path));
      }
    };
    for await (const entry of left()) {
      options.signal.throwIfAborted();
      await breathe();
      await leave(entry.path);
      const file = place(entry.path);
      if (entry.type === 'directory') {
        open.push({ entry, prefix: prefixOf(entry.path) });
        continue;
      }
      const heir = orphans.get(latin1(entry.path));
      if (heir) await apply(entry, place(heir));
      if (!wanted(entry)) continue;
      if (entry.type !== 'hardlink') {
        await apply(entry, file);
        continue;
      }
      const first = place(orphans.get(latin1(entry.link ?? Buffer.alloc(0))) ?? entry.link ?? Buffer.alloc(0));
      if (first.equals(file)) continue;
      await placing.add({ do: 'link', at: latin1(file), first: latin1(first), root: at(Buffer.alloc(0)) });
    }
    await leave(null);
    await placing.settle();
  }

  /** What is left for the second pass. Of some paths only, all is looked at again: some stand in for others. */
  async function* left(): AsyncGenerator<Entry> {
    const { entries } = unfinished;
    if (entries && !filtered) yield* entries;
    else for await (const entry of point.entries()) if (filtered || !(await isFinished(entry))) yield entry;
  }

  /** Whether the thread that wrote the content has set everything else, too. */
  async function isFinished(entry: EntryWithBlocks): Promise<boolean> {
    if (entry.type !== 'file' || !ownOf(entry)) return false;
    for await (const block of entry.blocks) return isWhole(block, entry);
    return false;
  }

  /** What is set right after the content; undefined where more belongs to it than a thread sets. */
  function ownOf(entry: Entry): FileOwn | undefined {
    if (entry.xattrs) return undefined;
    const { uid, gid } = owner ?? entry;
    return { owner: isRoot ? { uid, gid } : null, mode: entry.mode, mtimeNs: entry.mtimeNs };
  }

  async function apply(entry: Entry, file: Buffer): Promise<void> {
    const { type, mode, mtimeNs } = entry;
    const { uid, gid } = owner ?? entry;
    await placing.add({
      do: 'own',
      at: latin1(file),
      ...{ type, mode, mtimeNs, owner: isRoot ? { uid, gid } : null },
      xattrs: Object.fromEntries(Object.entries(entry.xattrs ?? {}).map(([name, value]) => [name, latin1(value)])),
      alias: moved(entry.path) ? latin1(inTree(into, entry.path)) : null,
      // Of some paths only, most folders are not there.
      isOptional: filtered && type === 'directory',
    });
  }
}

/** Whether the block is all of its file. */
function isWhole(block: Block, entry: Entry): boolean {
  return !entry.streamed && block.bytes === entry.size;
}

/** Where each path of the tree is written, and which of them are the folders that lie elsewhere. */
function createPlaces(into: string, elsewhere: ReadonlyMap<string, string>) {
  const roots = [...elsewhere].map(([folder, to]) => ({ below: Buffer.from(`${folder}/`), to }));
  const isMoved = (p: Uint8Array, { below }: { below: Buffer }) =>
    p.length === below.length - 1 && below.subarray(0, -1).equals(p);
  return {
    place(p: Uint8Array): Buffer {
      for (const root of roots) {
        if (isMoved(p, root)) return Buffer.from(root.to);
        if (root.below.equals(p.subarray(0, root.below.length))) {
          return Buffer.concat([Buffer.from(`${root.to}/`), p.subarray(root.below.length)]);
        }
      }
      return inTree(into, p);
    },
    moved: (p: Uint8Array) => roots.some((root) => isMoved(p, root)),
  };
}

function prefixOf(p: Uint8Array): Buffer {
  return p.length === 0 ? Buffer.alloc(0) : Buffer.concat([p, Buffer.from('/')]);
}

function asTargetFailure(thrown: unknown, into: string): unknown {
  const error = asTargetSilence(thrown);
  const { code } = error as NodeJS.ErrnoException;
  if (isFailure(error) || code === undefined || code === 'ABORT_ERR' || !/^E[A-Z]+$/.test(code)) return error;
  return new Failure('TargetUnusable', `The restore into ${into} failed: ${String(error)}.`, {
    next: code === 'ENOSPC' ? 'Free space there, or restore elsewhere.' : 'Mend what is named, or restore elsewhere.',
    cause: error,
  });
}
