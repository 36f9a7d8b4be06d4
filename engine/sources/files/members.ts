import {
  type Block,
  blockOf,
  type FrameResult,
  frameBytesMax,
  type Piece,
  type PieceResult,
} from '../../artifact/index.ts';
import type { Found } from './walk.ts';

/**
 * Files are cut into blocks of this length. Half of what a block may have: what is written somewhere into a large file
 * seldom begins where a block does, and touches one block more than it would fill.
 */
export const blockBytes = 512 * 1024;

/** A file on its way: pieces still to come, blocks that came, and the worst that happened to them. */
export interface Pending {
  found: Found;
  open: number;
  /** What an earlier point has of it, in order: every block but the last has the same length. */
  known: Block[];
  blocks: Block[];
  state: PieceResult['state'];
  errno: string;
}

export function newPending(found: Found): Pending {
  return { found, open: 0, known: [], blocks: [], state: 'ok', errno: '' };
}

export interface Frame {
  pieces: Piece[];
  owners: { piece: number; pending: Pending; known: Block | undefined }[];
  bytes: number;
}

export function newFrame(): Frame {
  return { pieces: [], owners: [], bytes: 0 };
}

/** Takes in what became of a piece of a file. @param known the block that its hash was compared with */
export function settle(pending: Pending, frame: FrameResult, index: number, known: Block | undefined): void {
  const piece = frame.pieces[index];
  if (!piece) throw new RangeError(`frame without piece ${index}`);
  pending.open--;
  pending.blocks.push(piece.isKnown && known ? known : blockOf(frame, piece));
  if (piece.state === 'ok') return;
  pending.state = piece.state;
  pending.errno = piece.errno ?? '';
}

/** The frames of one member by itself; for each piece, the block that it is compared with. */
export async function* framesAlone(
  { entry, file }: Found,
  header: Buffer,
  gap: number,
  known: AsyncIterable<Block> | Block[],
): AsyncGenerator<{ pieces: Piece[]; blocks: (Block | undefined)[] }> {
  const knownBlocks = iterate(known);
  let pieces: Piece[] = [];
  let blocks: (Block | undefined)[] = [];
  let bytes = 0;
  const add = (piece: Piece, length: number, block?: Block) => {
    pieces.push(piece);
    blocks.push(block);
    bytes += length;
  };
  const taken = () => {
    const frame = { pieces, blocks };
    pieces = [];
    blocks = [];
    bytes = 0;
    return frame;
  };
  if (header.length > 0) add({ kind: 'bytes', bytes: header, hash: false }, header.length);
  for (let offset = 0; offset < entry.size; offset += blockBytes) {
    const length = Math.min(blockBytes, entry.size - offset);
    if (bytes + length > frameBytesMax) yield taken();
    const block = (await knownBlocks.next()).value as Block | undefined;
    const piece = { kind: 'file', path: file, offset, bytes: length, expect: entry } as const;
    add(block ? { ...piece, known: block.sha256 } : piece, length, block);
  }
  if (bytes + gap > frameBytesMax) yield taken();
  if (gap > 0) add({ kind: 'zeros', bytes: gap }, gap);
  if (pieces.length > 0) yield taken();
}

async function* iterate(blocks: AsyncIterable<Block> | Block[]): AsyncGenerator<Block, undefined> {
  yield* blocks;
}
