import type { Run } from './blocks.ts';
import type { KnownBlock, PageRule } from './pages.ts';
import type { Piece, PieceResult } from './types.ts';

/** What goes to a frame thread and comes back. */

export interface PackJob {
  seq: number;
  kind: 'pack';
  pieces: Piece[];
}

export interface UnpackBlock {
  /** Within the decompressed frame. */
  offset: number;
  bytes: number;
  /** Null for a part of something that has a hash as a whole only. */
  sha256: string | null;
  /** Where to write it; absent: only verify. */
  target?: BlockTarget;
}

export interface BlockTarget {
  /** Absolute, raw bytes. */
  path: Uint8Array;
  fileOffset: number;
  /** The length of a file in which pages of zeros stay holes; null where they are written out. */
  sparse: number | null;
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
  /** Blocks that are whole are begun to be written to the disk. */
  writeBehind?: boolean;
}

/** Looks at a block before it is stored: all of it, some pages, or nothing may be new. */
export interface ExamineJob {
  seq: number;
  kind: 'examine';
  bytes: Uint8Array;
  known: KnownBlock | null;
  /** Null: compared whole. */
  rule: PageRule | null;
}

/** Compares stretches of files, which were written in parts, with what they have to be as a whole. */
export interface CompareJob {
  seq: number;
  kind: 'compare';
  blocks: (BlockTarget & { bytes: number; sha256: string })[];
  /** What is as it has to be is begun to be written to the disk. */
  writeBehind?: boolean;
}

export type ThreadJob = PackJob | UnpackJob | ExamineJob | CompareJob;

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
export interface Examined {
  seq: number;
  kind: 'examined';
  /** Of the whole block, lower-case hex. */
  sha256: string;
  /** Base64; null where pages are told apart by their LSN, or not at all. */
  pages: string | null;
  /** What is new; null: all of it. Nothing, when the block is the known one. */
  runs: Run[] | null;
  /** The bytes of the runs, one after the other. */
  bytes: Uint8Array<ArrayBuffer>;
}
export interface Compared {
  seq: number;
  kind: 'compared';
  problems: BlockProblem[];
}
export interface ThreadFailure {
  seq: number;
  kind: 'failed';
  /** The operating system's code. */
  errno: string;
  message: string;
}
export type ThreadReply = Packed | Unpacked | Examined | Compared | ThreadFailure;
