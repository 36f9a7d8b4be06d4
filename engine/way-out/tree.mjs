import {
  chmodSync,
  closeSync,
  constants,
  ftruncateSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { assertReal, createGuard } from './inside.mjs';
import { Attributes, makeNode, Tally } from './linux.mjs';
import { damaged, Problem } from './problem.mjs';
import { printable } from './text.mjs';

/** Puts a tree back: what the manifest names, and nothing through a symbolic link. */

/** @typedef {import('./manifest.mjs').Entry} Entry */
/** @typedef {import('./content.mjs').OpenPoint} OpenPoint */
/**
 * @typedef {object} TreeOptions
 * @property {string[]} only paths that are wanted; each covers what lies below it; none means all
 * @property {(bytes: number) => void} onBytes
 * @property {(line: string) => void} onLost told of every file that is damaged and was left out
 */

const separator = Buffer.of(0x2f);
const pageBytes = 4096;
const zeroPage = Buffer.alloc(pageBytes);
const isRoot = process.getuid?.() === 0;

/**
 * Restores into an empty folder; returns what could not be brought back. Goes on where a file is damaged, and leaves
 * it out.
 *
 * @param {OpenPoint} open @param {string} into @param {TreeOptions} options
 * @returns {{ entries: number, lost: number, missing: string[] }}
 */
export function restoreTree(open, into, options) {
  const tree = new Tree(open, into, options);
  tree.writeContents();
  tree.makeLinks();
  tree.applyOwners();
  tree.applyModes();
  return { entries: tree.entries, lost: tree.lost, missing: tree.tally.lines() };
}

class Tree {
  /** @param {OpenPoint} open @param {string} into @param {TreeOptions} options */
  constructor(open, into, options) {
    this.open = open;
    this.into = into;
    this.root = Buffer.from(into);
    this.options = options;
    this.only = options.only.map((path) => Buffer.from(path.replace(/^(\.?\/)+|\/+$/g, '').replace(/^\.$/, '')));
    this.entries = 0;
    this.lost = 0;
    this.tally = new Tally();
    /**
     * First names that are not wanted, with the first wanted name of the same file; by path.
     * @type {Map<string, Buffer>}
     */
    this.heirs = new Map();
  }

  /** @param {Buffer} path */
  place(path) {
    return path.length === 0 ? this.root : Buffer.concat([this.root, separator, path]);
  }

  /** It was asked for, or a folder above it was. @param {Buffer} path */
  isAsked(path) {
    return this.only.length === 0 || this.only.some((asked) => isWithin(path, asked));
  }

  /** The folders above what was asked for are wanted as well. @param {Buffer} path */
  wants(path) {
    return this.isAsked(path) || this.only.some((asked) => isWithin(asked, path));
  }

  /** Where an entry belongs: its own place, that of its heir, or nowhere. @param {Buffer} path */
  home(path) {
    if (this.wants(path)) return this.place(path);
    const heir = this.heirs.get(path.toString('latin1'));
    return heir ? this.place(heir) : null;
  }

  writeContents() {
    const guard = createGuard();
    this.eachFile((entry) => {
      guard(entry);
      const { type, path, link } = entry;
      if (!this.wants(path)) return null;
      if (this.isAsked(path)) this.entries++;
      if (type === 'directory' && path.length > 0) mkdirSync(this.place(path), 0o700);
      const first = link.toString('latin1');
      if (type === 'hardlink' && !this.wants(link) && !this.heirs.has(first)) this.heirs.set(first, path);
      return type === 'file' ? this.place(path) : null;
    });
    if (this.heirs.size === 0) return;
    this.eachFile(({ type, path }) => (type === 'file' && !this.wants(path) ? this.home(path) : null));
  }

  /** Goes through the entries, and writes files to where the caller says. @param {(entry: Entry) => Buffer | null} placeOf */
  eachFile(placeOf) {
    /** @type {FileWriter | null} */
    let writer = null;
    const finish = () => {
      const problem = writer?.finish();
      if (problem) this.lose(/** @type {FileWriter} */ (writer).entry, problem.message);
      writer = null;
    };
    for (const item of this.open.items()) {
      if (item.kind === 'block') writer?.write(item.block);
      if (item.kind !== 'entry') continue;
      finish();
      const file = placeOf(item.entry);
      if (file) writer = new FileWriter(this.open, item.entry, file, this.options.onBytes);
    }
    finish();
  }

  /** @param {Entry} entry @param {string} why */
  lose(entry, why) {
    this.lost++;
    this.options.onLost(`${printable(entry.path)}: ${why}`);
  }

  /** Symbolic links, hard links, fifos and devices; first names come first. */
  makeLinks() {
    for (const item of this.open.items()) {
      if (item.kind !== 'entry' || item.entry.type === 'directory' || item.entry.type === 'file') continue;
      const { entry } = item;
      const file = this.home(entry.path);
      if (!file) continue;
      if (entry.type === 'symlink') symlinkSync(entry.link, file);
      else if (entry.type === 'hardlink') this.makeHardLink(entry, file);
      else {
        const why = makeNode(this.into, file, entry);
        if (why)
          this.tally.add(
            `a ${entry.type === 'fifo' ? 'fifo' : `${entry.type} device`} (${why})`,
            printable(entry.path),
          );
      }
    }
  }

  /** @param {Entry} entry @param {Buffer} file */
  makeHardLink(entry, file) {
    const first = this.home(entry.link);
    if (!first || first.equals(file)) return;
    try {
      assertReal(this.root, first, entry.path);
      linkSync(first, file);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      this.lose(entry, `it is a further name of ${printable(entry.link)}, which was left out`);
    }
  }

  applyOwners() {
    const attributes = new Attributes(this.into, this.tally);
    const groups = new Set([process.getgid?.(), ...(process.getgroups?.() ?? [])]);
    for (const { entry, file } of this.restored()) {
      const isMine = entry.uid === process.getuid?.() && groups.has(entry.gid);
      if (isRoot) this.giveTo(entry, file);
      else if (!isMine) this.tally.add('owners, which only root may set', printable(entry.path));
      attributes.add(file.subarray(this.root.length + 1), entry.xattrs, printable(entry.path));
    }
    attributes.flush();
  }

  /** Root may not either where ids are not mapped, or on a file server that squashes root. @param {Entry} entry @param {Buffer} file */
  giveTo(entry, file) {
    try {
      ifThere(() => lchownSync(file, entry.uid, entry.gid));
    } catch (error) {
      const code = codeOf(error) ?? '';
      if (!['EPERM', 'EINVAL', 'ENOTSUP'].includes(code)) throw error;
      this.tally.add(`owners, which cannot be set here (${code})`, printable(entry.path));
    }
  }

  /** Modes and times; those of a folder once all is done that lies in it. */
  applyModes() {
    /** @type {{ entry: Entry, file: Buffer }[]} */
    const open = [];
    const leave = (/** @type {Buffer | null} */ next) => {
      for (let last = open.at(-1); last; last = open.at(-1)) {
        const { path } = last.entry;
        const isInside =
          next && (path.length === 0 || next.subarray(0, path.length + 1).equals(Buffer.concat([path, separator])));
        if (isInside) return;
        open.pop();
        setModeAndTime(last);
      }
    };
    for (const found of this.restored()) {
      leave(found.entry.path);
      if (found.entry.type === 'directory') open.push(found);
      else setModeAndTime(found);
    }
    leave(null);
  }

  /** Entries with a place of their own; further names share that of the first. */
  *restored() {
    for (const item of this.open.items()) {
      if (item.kind !== 'entry' || item.entry.type === 'hardlink') continue;
      const file = this.home(item.entry.path);
      if (file) yield { entry: item.entry, file };
    }
  }
}

/** Writes one file's blocks; what is damaged is not left behind. */
class FileWriter {
  /** @param {OpenPoint} open @param {Entry} entry @param {Buffer} file @param {(bytes: number) => void} onBytes */
  constructor(open, entry, file, onBytes) {
    this.open = open;
    this.entry = entry;
    this.file = file;
    this.onBytes = onBytes;
    this.length = 0;
    /** @type {Problem | null} */
    this.problem = null;
    this.fd = openSync(
      file,
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | (constants.O_NOFOLLOW ?? 0),
      0o600,
    );
  }

  /** @param {import('./manifest.mjs').Block} block */
  write(block) {
    if (this.problem) return;
    try {
      const bytes = this.open.read(block);
      if (this.entry.sparse) this.writePages(bytes);
      else writeAll(this.fd, bytes, this.length);
      this.length += bytes.length;
      this.onBytes(bytes.length);
    } catch (error) {
      if (!(error instanceof Problem) || error.kind !== 'damage') throw error;
      this.problem = error;
    }
  }

  /** Pages of zeros stay holes. @param {Uint8Array} bytes */
  writePages(bytes) {
    for (let at = 0; at < bytes.length; at += pageBytes) {
      const page = bytes.subarray(at, at + pageBytes);
      if (Buffer.compare(page, zeroPage.subarray(0, page.length)) !== 0) writeAll(this.fd, page, this.length + at);
    }
  }

  /** Returns what is wrong with the file, which is then removed. */
  finish() {
    const { size, streamed, sparse } = this.entry;
    if (!this.problem && !streamed && this.length !== size)
      this.problem = damaged(`its blocks hold ${this.length} bytes, its entry names ${size}`);
    if (sparse && !this.problem) ftruncateSync(this.fd, this.length);
    closeSync(this.fd);
    if (this.problem) unlinkSync(this.file);
    return this.problem;
  }
}

/** @param {Buffer} path @param {Buffer} folder */
function isWithin(path, folder) {
  if (folder.length === 0 || path.equals(folder)) return true;
  return path[folder.length] === separator[0] && path.subarray(0, folder.length).equals(folder);
}

/** @param {number} fd @param {Uint8Array} bytes @param {number} position */
function writeAll(fd, bytes, position) {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, position + at);
}

/** @param {{ entry: Entry, file: Buffer }} found */
function setModeAndTime({ entry, file }) {
  const ms = Number(entry.mtimeNs / 1_000_000n);
  // Numbers below 0 are taken for "now"; dates are not.
  const time = entry.mtimeNs < 0n ? new Date(ms) : Number(entry.mtimeNs) / 1e9;
  ifThere(() => {
    if (entry.type !== 'symlink') chmodSync(file, entry.mode);
    lutimesSync(file, time, time);
  });
}

/** Files that were left out are not there. @param {() => void} work */
function ifThere(work) {
  try {
    work();
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}

/** @param {unknown} error */
function codeOf(error) {
  return /** @type {NodeJS.ErrnoException} */ (error).code;
}
