import {
  type ArtifactWriter,
  type Block,
  blockOf,
  type EntryIndex,
  inherited,
  type PageRule,
  patched,
  type WholeBlock,
} from '../../artifact/index.ts';
import { giveBack } from '../../give-back.ts';
import { createFramePacker, type FramePacker } from '../frame-packer.ts';

/** What is known of a cluster's files before they are read. */
export interface Earlier {
  /** Of the point that is compared with; null for a full one. */
  index: EntryIndex | null;
  ruleFor(path: string): PageRule | null;
}

interface FileBlock {
  /** In memory of its own, which is handed over. */
  bytes: Buffer;
  rule: PageRule | null;
  /** What the earlier point has of the same stretch of the file, as it refers to it. */
  known: Block | null;
}

/** Told where the block that was stored of the bytes lies. */
type Stored = (found: WholeBlock) => void;

interface Examining {
  job: ReturnType<ArtifactWriter['examine']>;
  known: Block | null;
  /** Of the block. */
  length: number;
  onBlock: (block: Block) => void;
}

export interface BlockSealer {
  packer: FramePacker<Stored>;
  /** Stores what is new of a block; what became of it is told to `onBlock`. */
  add(block: FileBlock, onBlock: (block: Block) => void): Promise<void>;
  /** Hands on to the packer what is still being looked at. */
  settled(): Promise<void>;
}

/**
 * Seals blocks of files in the order in which they come. One that may be known, or whose pages are to be told apart later,
 * is looked at by a thread first; then only what is new of it goes on into a frame, and frames fill up with that.
 */
export function createBlockSealer(writer: ArtifactWriter): BlockSealer {
  const packer = createFramePacker<Stored>(writer, (stored, frame, piece) => stored(blockOf(frame, piece)));
  const examined: Examining[] = [];

  const next = async () => {
    const head = examined.shift();
    if (!head) return;
    const { sha256, pages, runs, bytes } = await head.job;
    const facts = { bytes: head.length, sha256, ...(pages === null ? {} : { pages }) };
    const before = head.known && inherited(head.known);
    if (before && runs && bytes.length === 0) {
      head.onBlock(patched(before, facts, runs, null));
      return;
    }
    await packer.block({ kind: 'bytes', bytes, hash: false }, bytes.length, (found) => {
      // Where it went along with others, it was copied.
      giveBack(bytes.buffer);
      const { sha256: _, ...stretch } = found;
      head.onBlock(before && runs ? patched(before, facts, runs, stretch) : { ...stretch, ...facts });
    });
  };

  return {
    packer,
    async add({ bytes, rule, known }, onBlock) {
      if (!known && rule?.since !== null) {
        await packer.block({ kind: 'bytes', bytes, hash: true }, bytes.length, onBlock);
        return;
      }
      // Afterwards they are elsewhere, and none are here.
      const { length } = bytes;
      const job = writer.examine({
        bytes,
        known: known && { bytes: known.bytes, sha256: known.sha256, ...(known.pages ? { pages: known.pages } : {}) },
        rule,
      });
      // Awaited in its turn; until then a failure must not count as unhandled.
      job.catch(() => {});
      examined.push({ job, known, length, onBlock });
      while (examined.length >= writer.maxInFlight) await next();
    },
    async settled() {
      while (examined.length > 0) await next();
    },
  };
}
