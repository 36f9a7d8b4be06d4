import { execFile } from 'node:child_process';
import { chown, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { Failure } from '../../policies/failure.ts';
import { makeReachable } from './reachable.ts';
import type { UnprivilegedUser } from './unprivileged.ts';

const run = promisify(execFile);

export interface InitdbOptions {
  binDir: string;
  /** Absolute. */
  dataDir: string;
  /** Whose the folder becomes; null: ours. */
  user: UnprivilegedUser | null;
  /** The superuser's; absent: trust. */
  password?: string;
}

/**
 * Makes a cluster (UTF8, locale C, data checksums, superuser `postgres`) unless the folder holds one. It is made
 * beside its place and moved there whole, so that a killed initdb leaves no half of one. Throws TargetUnusable.
 */
export async function ensureCluster({ binDir, dataDir, user, password }: InitdbOptions): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  if (user) {
    await chown(dataDir, user.uid, user.gid);
    await makeReachable(dataDir, user);
    await makeReachable(path.join(binDir, 'postgres'), user);
  }
  const there = await readdir(dataDir);
  if (there.includes('PG_VERSION')) return;
  if (there.length > 0) {
    throw new Failure(
      'TargetUnusable',
      `${dataDir} is no PostgreSQL data folder, and not empty (${there.slice(0, 3).join(', ')}).`,
      {
        next: 'Choose an empty or new folder.',
      },
    );
  }
  const making = `${dataDir}.new`;
  const passwordFile = `${dataDir}.password`;
  const authentication =
    password === undefined ? ['--auth=trust'] : ['--auth=scram-sha-256', `--pwfile=${passwordFile}`];
  try {
    await rm(making, { recursive: true, force: true });
    await mkdir(making, { mode: 0o700 });
    if (user) await chown(making, user.uid, user.gid);
    if (password !== undefined) {
      await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
      if (user) await chown(passwordFile, user.uid, user.gid);
    }
    await run(
      path.join(binDir, 'initdb'),
      ['-D', making, '-U', 'postgres', '-E', 'UTF8', '--no-locale', '--data-checksums', '--no-sync', ...authentication],
      {
        cwd: '/',
        env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' },
        ...(user ? { uid: user.uid, gid: user.gid } : {}),
      },
    );
    await rename(making, dataDir);
  } catch (error) {
    await rm(making, { recursive: true, force: true });
    const said = (error as { stderr?: string }).stderr?.trim() || String(error);
    throw new Failure('TargetUnusable', `No PostgreSQL cluster could be made in ${dataDir}: ${said}`, {
      next: 'Look at the message; is the folder writable, and is there space?',
      cause: error,
    });
  } finally {
    await rm(passwordFile, { force: true });
  }
}
