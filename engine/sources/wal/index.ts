/** Write-ahead log: archiving it, verifying what is archived, and coming back to a moment by it. */
export { verifyWal } from './verify.ts';
