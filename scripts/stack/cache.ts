import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { Failure } from '../../policies/failure.ts';
import { identityOf, isAlive, type ProcessIdentity } from './process-identity.ts';

/** Where found and built components are kept between runs: XDG_CACHE_HOME or ~/.cache, then `backup-coordinator`. */
export function cacheDir(...below: string[]): string {
  const root = process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache');
  return path.join(root, 'backup-coordinator', ...below);
}

const waitLimitMs = 20 * 60_000;

/**
 * Runs one thing at a time per name, over all processes on this machine. A lock whose holder has died is taken over.
 * The lock is a folder with the holder's identity, put into place by an atomic rename.
 */
export async function withCacheLock<T>(name: string, run: () => Promise<T>): Promise<T> {
  const folder = cacheDir('locks');
  await mkdir(folder, { recursive: true });
  const lock = path.join(folder, name);
  const mine = `${lock}.${process.pid}.${Date.now()}`;
  await mkdir(mine);
  await writeFile(path.join(mine, 'holder.json'), JSON.stringify(identityOf(process.pid)));
  const until = performance.now() + waitLimitMs;
  try {
    while (!(await tryTake(mine, lock))) {
      if (performance.now() > until) {
        throw new Failure('ClientToolMissing', `Another process holds ${lock} since more than 20 minutes.`, {
          next: `See what process ${(await holderOf(lock))?.pid ?? '?'} is doing, or remove that folder.`,
        });
      }
      await setTimeout(200);
    }
  } catch (error) {
    await rm(mine, { recursive: true, force: true });
    throw error;
  }
  try {
    return await run();
  } finally {
    await rm(lock, { recursive: true, force: true });
  }
}

async function tryTake(mine: string, lock: string): Promise<boolean> {
  try {
    // Fails when the lock exists: a folder that is not empty is never replaced.
    await rename(mine, lock);
    return true;
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  const holder = await holderOf(lock);
  if (holder && isAlive(holder)) return false;
  // Moved aside first, so that of two who see a dead holder only one removes, and never a fresh lock.
  const grave = `${mine}.dead`;
  try {
    await rename(lock, grave);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  const buried = await readHolder(grave);
  if (buried && isAlive(buried)) await rename(grave, lock);
  else await rm(grave, { recursive: true, force: true });
  return false;
}

async function holderOf(lock: string): Promise<ProcessIdentity | null> {
  return readHolder(lock);
}

async function readHolder(folder: string): Promise<ProcessIdentity | null> {
  try {
    return JSON.parse(await readFile(path.join(folder, 'holder.json'), 'utf8')) as ProcessIdentity;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return null;
    throw error;
  }
}

/** True when there is something at the path. */
export async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
}
