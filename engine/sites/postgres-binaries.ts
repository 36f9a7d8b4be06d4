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
 * Finds a folder that holds all the named programs: PG_BIN_DIRS (':'-separated), PATH, then /usr/lib/postgresql/*,
 * newest first. Throws ClientToolMissing saying what to install.
 *
 * @param need programs, e.g. ['pg_dump', 'pg_restore']
 * @param major the least major version that will do
 */
export async function findPostgresBinaries(need: string[], major = 0): Promise<PostgresBinaries> {
  const seen: string[] = [];
  for (const dir of await candidates()) {
    if (!(await hasAll(dir, need))) continue;
    const found = await majorOf(path.join(dir, need[0] ?? 'postgres'));
    if (found >= major) return { binDir: dir, major: found };
    seen.push(`${dir} has version ${found}`);
  }
  const version = major > 0 ? ` ${major}` : '';
  const why = seen.length > 0 ? ` (${seen.join('; ')})` : '';
  throw new Failure('ClientToolMissing', `PostgreSQL${version}'s ${need.join(', ')} cannot be found${why}.`, {
    next: `Install them (on Debian: apt-get install postgresql${major > 0 ? `-client-${major}` : ''}), or name their folder in PG_BIN_DIRS.`,
  });
}

async function candidates(): Promise<string[]> {
  const split = (text: string | undefined) => (text ?? '').split(':').filter((d) => d !== '');
  const named = split(process.env.PG_BIN_DIRS);
  // With PG_BIN_DIRS set, nothing else is looked at: the administrator has chosen.
  if (named.length > 0) return named;
  const root = '/usr/lib/postgresql';
  const versions = await readdir(root).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const debian = versions.sort((a, b) => Number(b) - Number(a)).map((v) => path.join(root, v, 'bin'));
  return [...debian, ...split(process.env.PATH)];
}

async function hasAll(dir: string, programs: string[]): Promise<boolean> {
  try {
    for (const program of programs) await access(path.join(dir, program), constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function majorOf(program: string): Promise<number> {
  const { stdout } = await run(program, ['--version']);
  return Number(/(\d+)(\.\d+)?/.exec(stdout)?.[1] ?? 0);
}
