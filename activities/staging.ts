import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { BackupPlan } from '../policies/backup-plan.ts';
import { Failure } from '../policies/failure.ts';
import { pointPrefix } from '../policies/recovery-point.ts';

type Staged = Pick<BackupPlan, 'source' | 'pointId'>;

/** The folder of a point on the host's staging disk. */
export function stagedDir(staging: string, { source, pointId }: Staged): string {
  return path.join(staging, pointPrefix(source, pointId));
}

/** The text of a file that an earlier step has left there. Throws ObjectMissing when it is not there any more. */
export async function readStaged(staging: string, point: Staged, name: string): Promise<string> {
  try {
    return await readFile(path.join(stagedDir(staging, point), name), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new Failure('ObjectMissing', `What was sealed of ${point.pointId} is no longer on the staging disk.`, {
      next: 'See who removes things there, then run the backup again.',
    });
  }
}
