import { existsSync } from 'node:fs';
import path from 'node:path';

export interface TiedCommand {
  command: string;
  args: string[];
}

let setpriv: string | null | undefined;

/**
 * The command line that runs a program so that the kernel sends it a signal when this process ends, however it ends
 * (prctl PR_SET_PDEATHSIG, through util-linux's setpriv). Where there is no setpriv, the program's own command line.
 */
export function tied(program: string, args: string[], signal: 'KILL' | 'QUIT' | 'TERM'): TiedCommand {
  setpriv ??=
    [...(process.env.PATH ?? '').split(':'), '/usr/bin']
      .map((dir) => path.join(dir, 'setpriv'))
      .find((file) => path.isAbsolute(file) && existsSync(file)) ?? null;
  if (setpriv === null) return { command: program, args };
  return {
    command: setpriv,
    args: ['--pdeathsig', signal, '--', program, ...args],
  };
}
