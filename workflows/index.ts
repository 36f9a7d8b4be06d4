/** The workflow types, by the names they are started with. */
export { backup } from './backup.ts';
export { cleanup } from './cleanup.ts';
export { coordinator } from './coordinator.ts';
export { rekey } from './rekey.ts';
export { repair } from './repair.ts';
export { restore } from './restore.ts';
export { retention } from './retention.ts';
export { scheduledBackup } from './scheduled-backup.ts';
export { walArchive } from './wal-archive.ts';
