import {
  type ArtifactWriter,
  type FrameResult,
  frameBytesMax,
  type Piece,
  type PieceResult,
} from '../artifact/index.ts';

/** Packs pieces into frames of at most 4 MiB, a few of them under way at once. */
export interface FramePacker<Owner> {
  /** Headers and padding: cut wherever a frame is full, for only tar readers care for them. */
  bytes(bytes: Buffer): void;
  /** A block of the owner's, never torn apart; what became of it is told to `onBlock`. */
  block(piece: Piece, length: number, owner: Owner): Promise<void>;
  /** Begins a new frame unless this much still fits. */
  fit(bytes: number): Promise<void>;
  /** Sends what is packed and waits for all that is under way. Throws what one of them failed with. */
  settled(): Promise<void>;
  /** Bytes packed so far: the length of the decompressed artifact. */
  contentBytes(): number;
}

export function createFramePacker<Owner>(
  writer: ArtifactWriter,
  onBlock: (owner: Owner, frame: FrameResult, piece: PieceResult) => void,
): FramePacker<Owner> {
  let pieces: Piece[] = [];
  let owners: { piece: number; owner: Owner }[] = [];
  let packed = 0;
  let total = 0;
  const inFlight: Promise<void>[] = [];

  const send = () => {
    if (packed === 0) return;
    const blocks = owners;
    const sent = writer.frame(pieces).then((frame) => {
      for (const { piece, owner } of blocks) onBlock(owner, frame, pieceOf(frame, piece));
    });
    // Awaited in its turn; until then a failure must not count as unhandled.
    sent.catch(() => {});
    inFlight.push(sent);
    pieces = [];
    owners = [];
    packed = 0;
  };
  const add = (piece: Piece, length: number) => {
    pieces.push(piece);
    packed += length;
    total += length;
  };
  const room = async () => {
    while (inFlight.length >= writer.maxInFlight) await inFlight.shift();
  };
  const packer: FramePacker<Owner> = {
    bytes(bytes) {
      for (let rest = bytes; rest.length > 0; ) {
        if (packed === frameBytesMax) send();
        const part = rest.subarray(0, frameBytesMax - packed);
        add({ kind: 'bytes', bytes: part, hash: false }, part.length);
        rest = rest.subarray(part.length);
      }
    },
    async block(piece, length, owner) {
      await packer.fit(length);
      owners.push({ piece: pieces.length, owner });
      add(piece, length);
    },
    async fit(bytes) {
      if (packed + bytes <= frameBytesMax) return;
      send();
      await room();
    },
    async settled() {
      send();
      while (inFlight.length > 0) await inFlight.shift();
    },
    contentBytes: () => total,
  };
  return packer;
}

function pieceOf(frame: FrameResult, index: number): PieceResult {
  const piece = frame.pieces[index];
  if (!piece) throw new RangeError(`frame without piece ${index}`);
  return piece;
}
