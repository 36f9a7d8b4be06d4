import type { Readable } from 'node:stream';
import type { BackupJson, SealedObject, SealedPoint } from '../../policies/recovery-point.ts';
import type { Block, Entry, EntryWithBlocks, FrameResult, Piece, Progress } from './types.ts';

/** What a source seals into. Implemented in writer.ts. */
export interface ArtifactWriter {
  /**
   * Queues one frame; resolves, in the order of the calls, once its place in the artifact is known. Callers keep at
   * most `maxInFlight` frames unresolved. `bytes` pieces are transferred: the caller must not touch them afterwards.
   */
  frame(pieces: Piece[]): Promise<FrameResult>;
  readonly maxInFlight: number;
  /** Reads a stream to its end, as frames; blocks of at most 1 MiB are passed on in order. Returns its place. */
  stream(content: Readable, onBlock: (block: Block) => void | Promise<void>, onProgress?: (bytes: number) => void):
    Promise<{ contentOffset: number; bytes: number }>;
  /** Appends to the manifest: the entry, then its blocks in order, then the next entry. Sorted by path. */
  entry(entry: Entry): Promise<void>;
  block(block: Block): Promise<void>;
}

/** A recovery point opened for reading. Implemented in reader.ts. Everything it returns has been authenticated. */
export interface PointReader {
  readonly backup: SealedPoint;
  entries(): AsyncIterable<EntryWithBlocks>;
  /** The decompressed artifact, or a part of it by name (format `parts`), every block checked against the manifest. */
  content(part?: string): Promise<Readable>;
}
export type { BackupJson, SealedObject, SealedPoint, Progress };
