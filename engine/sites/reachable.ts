import { execFile } from 'node:child_process';
import { chmod, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { Failure } from '../../policies/failure.ts';
import type { UnprivilegedUser } from './unprivileged.ts';

const run = promisify(execFile);

/**
 * Lets a user pass through every folder above a path, e.g. when data lies below root's own 0700 home. Only passing is
 * given, never listing or reading: by an access-control entry for that user where setfacl exists, otherwise by the
 * folder's own x bit for others. Throws TargetUnusable naming the folder that stays closed.
 */
export async function makeReachable(target: string, user: UnprivilegedUser): Promise<void> {
  const above: string[] = [];
  for (let at = path.dirname(target); at !== '/'; at = path.dirname(at)) above.unshift(at);
  for (const folder of above) {
    const { mode } = await stat(folder);
    if ((mode & 0o001) !== 0 || (await passes(folder, user))) continue;
    try {
      await run('setfacl', ['-m', `u:${user.uid}:--x`, folder]);
    } catch {
      // No setfacl, or a file system without such entries.
      await chmod(folder, (mode & 0o7777) | 0o001).catch(() => {});
    }
    if (await passes(folder, user)) continue;
    throw new Failure(
      'TargetUnusable',
      `PostgreSQL must run as user ${user.name}, who may not pass through ${folder}.`,
      {
        next: `chmod o+x ${folder}, or choose a folder elsewhere.`,
      },
    );
  }
}

async function passes(folder: string, { uid, gid }: UnprivilegedUser): Promise<boolean> {
  try {
    await run('test', ['-x', folder], { uid, gid });
    return true;
  } catch {
    return false;
  }
}
