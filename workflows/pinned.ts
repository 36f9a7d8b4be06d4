import { setWorkflowOptions } from '@temporalio/workflow';
import { backup } from './backup.ts';
import { cleanup } from './cleanup.ts';
import { coordinator } from './coordinator.ts';
import { rekey } from './rekey.ts';
import { repair } from './repair.ts';
import { restore } from './restore.ts';
import { retention } from './retention.ts';
import { scheduledBackup } from './scheduled-backup.ts';
import { walArchive } from './wal-archive.ts';

export * from './index.ts';

/**
 * The workflows as pinned workers run them (workers/version.ts): each says under which version of the code it goes on.
 * What ends within days ends under the version that began it; what may outlive the workers of its version goes on under
 * the current one. Temporal takes such a word from pinned workers only: to others this file must stay unknown.
 */
for (const workflow of [backup, rekey, repair, restore, retention, scheduledBackup]) {
  setWorkflowOptions({ versioningBehavior: 'PINNED' }, workflow as (input: never) => Promise<unknown>);
}
for (const workflow of [coordinator, cleanup, walArchive]) {
  setWorkflowOptions({ versioningBehavior: 'AUTO_UPGRADE' }, workflow as (input: never) => Promise<unknown>);
}
