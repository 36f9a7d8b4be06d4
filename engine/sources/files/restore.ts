import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  lchownSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  symlinkSync,
} from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Failure, isFailure } from '../../../policies/failure.ts';
import {
  type Block,
  type Entry,
  type EntryWithBlocks,
  type ExtractTarget,
  extract,
  type FileOwn,
  type PointReader,
} from '../../artifact/index.ts';
import { setMtime } from '../../file-times.ts';
import type { RestoreOptions, RestoreResult } from '../source.ts';
import { type Claim, claimFolder, takeOver, wholeBefore } from './claim.ts';
import { assertReal, createGuard } from './inside.ts';
import { yieldToLoop } from './loop.ts';
import { makeNode, setXattr } from './posix.ts';
import { inTree, latin1 } from './raw-path.ts';
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
  const before = wholeBefore(into, job);
  if (before) return before;
  const claims = new Map<string, Claim>();
  try {
    for (const folder of [into, ...(placement.elsewhere?.values() ?? [])]) {
      const left = await takeOver(folder, job);
      const existed = await prepare(folder);
      claims.set(folder, claimFolder(folder, left?.existed ?? existed, job));
    }
    const written = await write(point, into, options, placement);
    const restored = placement.complete ? await placement.complete(written) : written;
    await claims.get(into)?.finish(
      restored,
      [...claims.keys()].filter((folder) => folder !== into),
    );
    return restored;
  } catch (error) {
    for (const claim of [...claims.values()].reverse()) await claim.undo();
    throw asTargetFailure(error, into);
  }
}

async function prepare(into: string): Promise<boolean> {
  try {
    const there = readdirSync(into);
    if (there.length === 0) return true;
    const some = there.slice(0, 5).join(', ') + (there.length > 5 ? ', …' : '');
    throw new Failure(
      'TargetNotEmpty',
      `${into} is not empty: it holds ${there.length} ${there.length === 1 ? 'thing' : 'things'} (${some}).`,
      {
        next: 'Restore into a new or empty folder; nothing was written.',
      },
    );
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw asTargetFailure(error, into);
    try {
      await makeFolder(into);
    } catch (mkdirError) {
      throw asTargetFailure(mkdirError, into);
    }
    return false;
  }
}

/** With those above it. Node's own `recursive` never comes back where a folder cannot be, such as below /proc. */
async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    const above = path.dirname(folder);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || existsSync(above)) throw error;
    await makeFolder(above);
    await mkdir(folder, { mode: 0o700 });
  }
}

async function write(
  point: PointReader,
  into: string,
  options: RestoreOptions,
  { elsewhere, owner, writeBehind = false, keptBytes }: Placement,
): Promise<RestoreResult> {
  const filtered = options.paths !== undefined && options.paths.length > 0;
  const filter = createFilter(options.paths ?? [], []);
  const selects = (p: Uint8Array) => filter(Buffer.from(p).toString()) === 'yes';
  const wanted = (entry: Entry) => selects(entry.path);
  const result: RestoreResult = { entries: 0, bytes: 0, warnings: [] };
  const { place, moved } = createPlaces(into, elsewhere ?? new Map());
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
      if (filtered) await makeParents(into, entry.path);
      result.entries++;
      let isFinished = false;
      switch (entry.type) {
        case 'directory':
          if (moved(entry.path)) symlinkSync(place(entry.path), inTree(into, entry.path));
          // Not by this thread itself: the file system may wait for its journal.
          else if (entry.path.length > 0) await mkdir(place(entry.path), { mode: 0o700, recursive: filtered });
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
          symlinkSync(Buffer.from(entry.link ?? ''), place(entry.path));
          break;
        default:
          makeNode(place(entry.path), entry.type, entry.mode, entry.rdev ?? { major: 0, minor: 0 });
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
    closeSync(openSync(file, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600));
    return false;
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
    const leave = (next: Uint8Array | null) => {
      for (let last = open.at(-1); last; last = open.at(-1)) {
        const inside =
          next && (last.prefix.length === 0 || Buffer.from(next).subarray(0, last.prefix.length).equals(last.prefix));
        if (inside) return;
        open.pop();
        const folder = place(last.entry.path);
        apply(last.entry, folder);
      }
    };
    for await (const entry of left()) {
      options.signal.throwIfAborted();
      await breathe();
      leave(entry.path);
      const file = place(entry.path);
      if (entry.type === 'directory') {
        if (!filtered || lexists(file)) open.push({ entry, prefix: prefixOf(entry.path) });
        continue;
      }
      const heir = orphans.get(latin1(entry.path));
      if (heir) apply(entry, place(heir));
      if (!wanted(entry)) continue;
      if (entry.type !== 'hardlink') {
        apply(entry, file);
        continue;
      }
      const first = place(orphans.get(latin1(entry.link ?? Buffer.alloc(0))) ?? entry.link ?? Buffer.alloc(0));
      if (first.equals(file)) continue;
      assertReal(into, first);
      linkSync(first, file);
    }
    leave(null);
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

  function apply(entry: Entry, file: Buffer): void {
    if (isRoot) {
      const { uid, gid } = owner ?? entry;
      lchownSync(file, uid, gid);
      if (moved(entry.path)) lchownSync(inTree(into, entry.path), uid, gid);
    }
    // Before the mode, which may forbid it to all but root.
    for (const [name, value] of Object.entries(entry.xattrs ?? {})) {
      try {
        setXattr(file, name, value);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (!['ENOTSUP', 'EOPNOTSUPP', 'EPERM'].includes(code ?? '')) throw error;
        if (result.warnings.length < 100)
          result.warnings.push(`${file.toString()}: ${name} could not be set (${code})`);
      }
    }
    if (entry.type !== 'symlink') chmodSync(file, entry.mode);
    setMtime(file, entry.mtimeNs);
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

async function makeParents(into: string, p: Uint8Array): Promise<void> {
  const end = Buffer.from(p).lastIndexOf(0x2f);
  if (end <= 0) return;
  const parent = inTree(into, p.subarray(0, end));
  await mkdir(parent, { recursive: true, mode: 0o700 });
}

function lexists(file: Buffer): boolean {
  return lstatSync(file, { throwIfNoEntry: false }) !== undefined;
}

function asTargetFailure(error: unknown, into: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (isFailure(error) || code === undefined || code === 'ABORT_ERR' || !/^E[A-Z]+$/.test(code)) return error;
  return new Failure('TargetUnusable', `The restore into ${into} failed: ${String(error)}.`, {
    next: code === 'ENOSPC' ? 'Free space there, or restore elsewhere.' : 'Mend what is named, or restore elsewhere.',
    cause: error,
  });
}
