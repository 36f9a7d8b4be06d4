/** The sealed format: docs/format.md. */
export { parseBackupJson, parseSealedJson, signBackupJson } from './backup-json.ts';
export { inherited, patched } from './blocks.ts';
export { assertSealedFor } from './encryption-check.ts';
export { type EntryIndex, indexEntries } from './entry-index.ts';
export { type ExtractTarget, extract } from './extract.ts';
export { followSealing, SealingGone } from './follow.ts';
export type { FileOwn } from './frame-jobs.ts';
export { acquireFramePool, keepFrameThreads } from './frame-pool.ts';
export { keepReference, referenceDir } from './kept-references.ts';
export {
  generateIdentity,
  generateSigningKey,
  publicKeyOf,
  readSigningKey,
  recipientOf,
  recipientsOf,
  type SigningKey,
} from './keys.ts';
export { blockBytesMax, frameBytesMax } from './limits.ts';
export { comparePaths } from './manifest.ts';
export type { PageRule } from './pages.ts';
export { openPoint, type PointReader } from './reader.ts';
export { type Base, openReference } from './reference.ts';
export { isRewrapOf, rewrapKey } from './rewrap.ts';
export { sortedEntries } from './sorted-entries.ts';
export type {
  Block,
  Entry,
  EntryType,
  EntryWithBlocks,
  FrameResult,
  Piece,
  PieceResult,
  Progress,
  WholeBlock,
} from './types.ts';
export { verifyPoint } from './verify.ts';
export {
  createWalObject,
  type OpenWal,
  openWal,
  readWalHeader,
  type WalReading,
  type WalWriter,
  walKeyPlace,
} from './wal-object.ts';
export { readWholeWal } from './wal-whole.ts';
export { type KeyPlace, listKeys, openWrappedKey, readWrappedKey, type WrappedKey } from './wrapped-keys.ts';
export {
  type ArtifactWriter,
  blockOf,
  type SealPointOptions,
  sealPoint,
} from './writer.ts';
