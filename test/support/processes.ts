import { execFileSync } from 'node:child_process';

export interface RunningCommand {
  pid: number;
  /** The command line. */
  args: string;
}

/** Living processes whose command line holds a text, e.g. a folder that only one test uses. */
export function processesNaming(text: string): RunningCommand[] {
  return execFileSync('ps', ['-ww', '-eo', 'pid=,stat=,args='], { encoding: 'utf8' })
    .split('\n')
    .flatMap((line): RunningCommand[] => {
      const [, pid, state, args] = /^ *(\d+) +(\S+) +(.*)$/.exec(line) ?? [];
      if (!pid || !args?.includes(text) || state?.startsWith('Z') || Number(pid) === process.pid) return [];
      return [{ pid: Number(pid), args }];
    });
}
