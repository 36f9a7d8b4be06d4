import { readdir, readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';

export interface Sighting {
  pid: number;
  /** The program's name, e.g. `pg_dump`. */
  program: string;
  where: 'arguments' | 'environment';
  /** Name of the secret that stands there. */
  secret: string;
}

export interface Watched {
  /** Programs that were looked at. */
  programs: Set<string>;
  sightings: Sighting[];
}

/** A process changes its arguments when it executes another program: each is read so often. */
const looks = 4;

/** Looks for secrets in the arguments and the environment of every process of this machine, until stopped (Linux). */
export function watchProcesses(secrets: ReadonlyMap<string, string>): { stop(): Promise<Watched> } {
  const watched: Watched = { programs: new Set(), sightings: [] };
  const looked = new Map<string, number>();
  let stopping = false;
  const watching = (async () => {
    while (!stopping) {
      for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
        const times = looked.get(pid) ?? 0;
        if (times >= looks) continue;
        looked.set(pid, times + 1);
        await look(Number(pid), secrets, watched);
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

async function look(pid: number, secrets: ReadonlyMap<string, string>, watched: Watched): Promise<void> {
  const [args, environment] = await Promise.all([read(pid, 'cmdline'), read(pid, 'environ')]);
  const program = args.split('\0')[0]?.split('/').pop() ?? '';
  watched.programs.add(program);
  for (const [secret, value] of secrets) {
    if (args.includes(value)) watched.sightings.push({ pid, program, where: 'arguments', secret });
    if (environment.includes(value)) watched.sightings.push({ pid, program, where: 'environment', secret });
  }
}

async function read(pid: number, what: 'cmdline' | 'environ'): Promise<string> {
  try {
    return await readFile(`/proc/${pid}/${what}`, 'utf8');
  } catch (error) {
    // It has ended, or is another user's.
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) return '';
    throw error;
  }
}
