import { readdir, readFile, readlink, realpath, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { Failure } from '../../policies/failure.ts';

const depthMax = 2;
const quitMs = 10_000;

/**
 * Ends the servers, and removes the data folders and logs, that a killed worker left below a folder (at most two levels
 * down). A process is only ended when it works in that very data folder. Idempotent.
 */
export async function reapInstances(below: string): Promise<void> {
  for (const dataDir of await dataFolders(path.resolve(below), depthMax)) {
    const pid = await serverOf(dataDir);
    if (pid !== null) await endServer(dataDir, pid);
    await rm(dataDir, { recursive: true, force: true });
    await rm(`${dataDir}.log`, { force: true });
  }
}

/**
 * Waits for the end of a server whose owner was killed, so that another can start on the same folder. Throws
 * TargetUnusable when its owner lives.
 */
export async function endOrphan(dataDir: string): Promise<void> {
  const pid = await serverOf(dataDir);
  if (pid === null) return;
  const owner = await parentOf(pid);
  if (owner !== null && owner !== 1 && !(await isInit(owner))) {
    throw new Failure(
      'TargetUnusable',
      `Process ${owner} already runs a PostgreSQL server (pid ${pid}) on ${dataDir}.`,
      {
        next: 'Use that one, end it first, or choose another folder.',
      },
    );
  }
  await endServer(dataDir, pid);
}

async function endServer(dataDir: string, pid: number): Promise<void> {
  // SIGQUIT: the server ends its own children and gives its shared memory back; SIGKILL would leave both.
  for (const [signal, waitMs] of [
    ['SIGQUIT', quitMs],
    ['SIGKILL', quitMs],
  ] as const) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
    for (let waited = 0; waited < waitMs; waited += 50) {
      if ((await serverOf(dataDir)) !== pid) return;
      await setTimeout(50);
    }
  }
}

/** The pid in postmaster.pid when that process really is a server that works in this folder. */
export async function serverOf(dataDir: string): Promise<number | null> {
  try {
    const [first] = (await readFile(path.join(dataDir, 'postmaster.pid'), 'utf8')).split('\n');
    const pid = Number(first);
    if (!Number.isInteger(pid) || pid < 2) return null;
    return (await readlink(`/proc/${pid}/cwd`)) === (await realpath(dataDir)) ? pid : null;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
}

async function parentOf(pid: number): Promise<number | null> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const parent = /^PPid:\s+(\d+)$/m.exec(text)?.[1];
  return parent === undefined ? null : Number(parent);
}

/** Orphans go to process 1, or to a session's manager that calls itself an init. */
async function isInit(pid: number): Promise<boolean> {
  const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
  return /^(systemd|init|tini|dumb-init|docker-init)$/.test(name.trim());
}

async function dataFolders(folder: string, depth: number): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
    throw error;
  });
  if (entries.some((e) => e.name === 'PG_VERSION')) return [folder];
  if (depth === 0) return [];
  const found: string[] = [];
  for (const entry of entries) {
    if (entry.isDirectory()) found.push(...(await dataFolders(path.join(folder, entry.name), depth - 1)));
  }
  return found;
}
