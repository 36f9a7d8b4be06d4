import type { Piece, PieceResult } from './types.ts';

/** What goes to a frame thread and comes back. */

export interface PackJob {
  seq: number;
  kind: 'pack';
  pieces: Piece[];
  /** zstd level. */
  level: number;
}

export interface UnpackBlock {
  /** Within the decompressed frame. */
  offset: number;
  bytes: number;
  sha256: string;
  /** Where to write it; absent: only verify. */
  target?: BlockTarget;
}

export interface BlockTarget {
  /** Absolute, raw bytes. */
  path: Uint8Array;
  fileOffset: number;
  /** Pages of zeros stay holes. */
  sparse: boolean;
  /** Given when the block is all of the file: what is set once it is written. */
  own?: FileOwn;
}

/** What a file has besides its content; the owner only where it can be given away. */
export interface FileOwn {
  owner: { uid: number; gid: number } | null;
  mode: number;
  mtimeNs: string;
}

export interface UnpackJob {
  seq: number;
  kind: 'unpack';
  compressed: Uint8Array;
  blocks: UnpackBlock[];
  wantContent: boolean;
}

export type ThreadJob = PackJob | UnpackJob;

export interface BlockProblem {
  /** Index into the job's blocks; -1: the frame itself. */
  block: number;
  what: string;
}

export interface Packed {
  seq: number;
  kind: 'packed';
  contentBytes: number;
  compressed: Uint8Array<ArrayBuffer>;
  pieces: PieceResult[];
}
export interface Unpacked {
  seq: number;
  kind: 'unpacked';
  /** 0 when the frame cannot be decompressed. */
  contentBytes: number;
  problems: BlockProblem[];
  content: Uint8Array<ArrayBuffer> | null;
}
export interface ThreadFailure {
  seq: number;
  kind: 'failed';
  /** The operating system's code. */
  errno: string;
  message: string;
}
export type ThreadReply = Packed | Unpacked | ThreadFailure;
