/** Write-ahead log: archiving it, verifying what is archived, and coming back to a moment by it. */
export { planPointInTime } from './plan.ts';
export { recoverCluster } from './recover.ts';
export { verifyWal } from './verify.ts';
