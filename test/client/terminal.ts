import { run } from '../../client/run.ts';

export interface Ran {
  exitCode: number;
  stdout: string;
  stderr: string;
}

export interface RunHere {
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** Both streams are terminals of this many columns. */
  columns?: number;
  signal?: AbortSignal;
}

/** Runs backupctl in this process, and keeps what it printed. */
export async function backupctl(argv: string[], { env = {}, cwd = '/', columns, signal }: RunHere = {}): Promise<Ran> {
  const printed = { stdout: '', stderr: '' };
  const stream = (name: 'stdout' | 'stderr') => ({
    write: (text: string) => {
      printed[name] += text;
    },
    ...(columns === undefined ? {} : { isTTY: true, columns }),
  });
  const exitCode = await run(argv, {
    env,
    cwd,
    signal,
    streams: { stdout: stream('stdout'), stderr: stream('stderr') },
  });
  return { exitCode, ...printed };
}
