import { execFile } from 'node:child_process';
import { access, constants, readdir } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { Failure } from '../../policies/failure.ts';

const run = promisify(execFile);

export interface PostgresBinaries {
  binDir: string;
  major: number;
}

/**
 * Finds a folder that holds all the named programs, among PG_BIN_DIRS (':'-separated; when it is set nothing else is
 * looked at), /usr/lib/postgresql/* and PATH. Throws ClientToolMissing saying what to install.
 *
 * @param need programs, e.g. ['pg_dump', 'pg_restore']
 * @param major the least major version that will do; the nearest one is taken. Absent or 0: the newest there is.
 */
export async function findPostgresBinaries(need: string[], major = 0): Promise<PostgresBinaries> {
  return chooseBinaries(await listPostgresBinaries(need), need, major);
}

/** The same among those that were listed. */
export function chooseBinaries(all: PostgresBinaries[], need: string[], major = 0): PostgresBinaries {
  const found = major > 0 ? all.findLast((b) => b.major >= major) : all[0];
  if (found) return found;
  const version = major > 0 ? ` ${major} or newer` : '';
  const seen = all.map((b) => `${b.binDir} has version ${b.major}`).join('; ');
  throw new Failure(
    'ClientToolMissing',
    `${listOf(need)} of PostgreSQL${version} cannot be found${seen ? ` (${seen})` : ''}.`,
    {
      next: installHint(major, need.includes('postgres')),
    },
  );
}

/** Every folder that holds all the named programs, the newest version first. */
export async function listPostgresBinaries(need: string[]): Promise<PostgresBinaries[]> {
  const looked = (await candidates()).map(async (binDir) => ({
    binDir,
    major: (await hasAll(binDir, need)) ? await majorOf(path.join(binDir, need[0] ?? 'postgres')) : 0,
  }));
  const found = (await Promise.all(looked)).filter((b) => b.major > 0);
  // Stable: of two folders with one version, the one looked at first stays first.
  return found.sort((a, b) => b.major - a.major);
}

/** What to do about programs that are missing. */
export function installHint(major: number, server = false): string {
  const wanted = server
    ? `postgresql${major > 0 ? `-${major}` : ''}`
    : `postgresql-client${major > 0 ? `-${major}` : ''}`;
  return `Install them (on Debian: apt-get install ${wanted}), or name their folder in PG_BIN_DIRS.`;
}

function listOf(words: string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

async function candidates(): Promise<string[]> {
  const split = (text: string | undefined) => (text ?? '').split(':').filter((d) => path.isAbsolute(d));
  const named = split(process.env.PG_BIN_DIRS);
  // With PG_BIN_DIRS set, nothing else is looked at: the administrator has chosen.
  if (named.length > 0) return named;
  const root = '/usr/lib/postgresql';
  const versions = await readdir(root).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return [...new Set([...versions.map((v) => path.join(root, v, 'bin')), ...split(process.env.PATH)])];
}

async function hasAll(dir: string, programs: string[]): Promise<boolean> {
  try {
    for (const program of programs) await access(path.join(dir, program), constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** 0 for a program that does not run here, e.g. one of another architecture. */
async function majorOf(program: string): Promise<number> {
  try {
    const { stdout } = await run(program, ['--version']);
    return Number(/\) (\d+)/.exec(stdout)?.[1] ?? 0);
  } catch {
    return 0;
  }
}
