/**
 * The shapes that the sealed format's parts share. What each means on disk is in docs/format.md.
 *
 * Sealing: a source hands *frame jobs* (lists of pieces, at most 4 MiB together) to a Frames pool. Threads read, hash
 * and compress; the main thread only puts results in order, encrypts and writes. Restoring goes the other way.
 */

/** What one frame is made of. */
export type Piece =
  /** Bytes at hand: tar headers, a stretch of a dump. */
  | { kind: 'bytes'; bytes: Uint8Array; hash: boolean }
  /**
   * A stretch of a file, read by the thread. `expect` is what lstat said when the file was listed: the thread compares
   * it with fstat after reading. A short read is filled with zeros and reported, never thrown. Bytes that hash to
   * `known` (SHA-256) are left out of the frame: another point has them.
   */
  | { kind: 'file'; path: Uint8Array; offset: number; bytes: number; expect: FileIdentity; known?: string }
  /** Zeros, for padding to a tar record. */
  | { kind: 'zeros'; bytes: number };

/** How an unchanged file is recognised. Times are nanoseconds since 1970 in decimal; dev and inode in decimal. */
export interface FileIdentity {
  size: number;
  mtimeNs: string;
  ctimeNs: string;
  dev: string;
  ino: string;
}

/** What became of a piece, in the order of the job's pieces. */
export interface PieceResult {
  /** Offset within the frame's uncompressed bytes. */
  offset: number;
  bytes: number;
  /** Lower-case hex; null for pieces that asked for no hash. */
  sha256: string | null;
  /** `ok`, or why the bytes may not be what was listed. */
  state: 'ok' | 'changed' | 'vanished' | 'unreadable';
  /** These are the bytes that were known; they are not in the frame. */
  isKnown?: true;
  /** The operating system's code (EACCES, EIO …) for `unreadable`. */
  errno?: string;
}

export interface FrameResult {
  /** Where the compressed frame begins in the compressed stream (the plaintext of the encryption), and its length. */
  frameOffset: number;
  frameBytes: number;
  /** Where the frame begins in the decompressed stream. */
  contentOffset: number;
  contentBytes: number;
  pieces: PieceResult[];
}

/**
 * Where bytes lie: the artifact (index into the manifest header's list; 0 is the point's own), the compressed frame, and
 * the stretch within the decompressed frame.
 */
export interface Stretch {
  artifact: number;
  frameOffset: number;
  frameBytes: number;
  offset: number;
  bytes: number;
}

interface BlockFacts {
  bytes: number;
  /** Of the block's bytes, lower-case hex. */
  sha256: string;
  /** What the next point tells changed pages by where their LSN does not: 8 bytes of hash per page, base64. */
  pages?: string;
}

/** A block that lies in one piece. */
export interface WholeBlock extends Stretch, BlockFacts {}

/** A block whose pages lie in several places: stretches that make it up, in order. Only as a whole it has a hash. */
export interface Patchwork extends BlockFacts {
  stretches: Stretch[];
}

/** A stretch of a file that the manifest has a hash of. */
export type Block = WholeBlock | Patchwork;

/** File types as in a tar or `find -type`. */
export type EntryType = 'file' | 'directory' | 'symlink' | 'hardlink' | 'fifo' | 'char' | 'block';

/**
 * One entry of the manifest. Paths are relative to the root, '/'-separated raw bytes (names need not be UTF-8); the
 * root itself is the empty path. Entries come sorted by path, compared segment by segment as bytes, so that a
 * directory comes right before what it holds.
 */
export interface Entry {
  path: Uint8Array;
  type: EntryType;
  /** Permission bits incl. setuid, setgid, sticky. */
  mode: number;
  uid: number;
  gid: number;
  user: string;
  group: string;
  mtimeNs: string;
  ctimeNs: string;
  dev: string;
  ino: string;
  /** Bytes for a file, 0 otherwise. */
  size: number;
  /** The file has holes: a restore leaves them. */
  sparse?: boolean;
  /** Symlink target, or the path (relative to the root) of the first name of a hard-linked file. */
  link?: Uint8Array;
  /** Device number of char and block entries. */
  rdev?: { major: number; minor: number };
  /** Extended attributes incl. POSIX ACLs (`system.posix_acl_*`), raw values. */
  xattrs?: Record<string, Uint8Array>;
  /** Its size was not known when the entry was written: it is the sum of its blocks, and `size` is 0. */
  streamed?: boolean;
  /** It changed while it was read, at every attempt. Of very large files this is known once their blocks were read. */
  unstable?: boolean;
}

/** The point whose artifact blocks lie in. */
export interface ArtifactName {
  id: string;
  source: string;
}

/** An entry with its blocks; a large file's blocks stream, so that memory does not grow with a file's size. */
export interface EntryWithBlocks extends Entry {
  /** Consumed before the next entry is asked for. Empty but for files. */
  blocks: AsyncIterable<Block>;
}

export interface Progress {
  /** Source bytes done. */
  bytesDone: number;
  /** Estimate, 0 when unknown. */
  bytesTotal: number;
  entriesDone: number;
}
