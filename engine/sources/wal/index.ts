/** Write-ahead log: archiving it, verifying what is archived, and coming back to a moment by it. */
export { type ArchiveEnd, archiveWal } from './archive.ts';
export { keepCanaries, readCanaries, writeCanary } from './canary.ts';
export { leastOf, listWal, type WalContents } from './contents.ts';
export { streamFailure } from './failures.ts';
export { basePointOf, planPointInTime } from './plan.ts';
export { recoverCluster } from './recover.ts';
export { shipWal } from './ship.ts';
export { dropSlot, limitSlot, slotState } from './slot.ts';
export { discardUnsealed, readShipped, walStaging } from './staging.ts';
export { verifyWal } from './verify.ts';
