import { readdir, readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';

export interface Sighting {
  /** The program's name, e.g. `pg_dump`. */
  program: string;
  /** Its own pid, and those of its parents, the nearest first. */
  line: number[];
  where: 'arguments' | 'environment';
  /** Name of the secret that stands there. */
  secret: string;
}

export interface Watched {
  sightings: Sighting[];
}

/** A process changes its arguments when it executes another program: each is read so often. */
const looks = 5;

/** Looks for secrets in the arguments and the environment of every process of this machine, until stopped (Linux). */
export function watchProcesses(secrets: ReadonlyMap<string, string>): { stop(): Promise<Watched> } {
  const watched: Watched = { sightings: [] };
  const looked = new Map<string, number>();
  let stopping = false;
  const watching = (async () => {
    while (!stopping) {
      for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
        const times = looked.get(pid) ?? 0;
        if (times >= looks) continue;
        if (await look(Number(pid), secrets, watched)) looked.set(pid, times + 1);
      }
      await setTimeout(20);
    }
  })();
  return {
    async stop() {
      stopping = true;
      await watching;
      return watched;
    },
  };
}

/** False when it ended, or became another program, while it was looked at. */
async function look(pid: number, secrets: ReadonlyMap<string, string>, watched: Watched): Promise<boolean> {
  const args = await read(pid, 'cmdline');
  const line = await lineOf(pid);
  const environment = await read(pid, 'environ');
  if (line === null || args !== (await read(pid, 'cmdline'))) return false;
  const program = args.split('\0')[0]?.split('/').pop() ?? '';
  for (const [secret, value] of secrets) {
    if (args.includes(value)) watched.sightings.push({ program, line, where: 'arguments', secret });
    if (environment.includes(value)) watched.sightings.push({ program, line, where: 'environment', secret });
  }
  return true;
}

/** Null when one of them has ended meanwhile. */
async function lineOf(pid: number): Promise<number[] | null> {
  if (pid === 0) return [];
  const stat = await read(pid, 'stat');
  // After the program's name in parentheses: state, parent.
  const [, parent] = stat.replace(/^.*\) /s, '').split(' ');
  const above = stat === '' || parent === undefined ? null : await lineOf(Number(parent));
  return above && [pid, ...above];
}

async function read(pid: number, what: 'cmdline' | 'environ' | 'stat'): Promise<string> {
  try {
    return await readFile(`/proc/${pid}/${what}`, 'utf8');
  } catch (error) {
    // It has ended, or is another user's.
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) return '';
    throw error;
  }
}
