import { CommanderError } from 'commander';
import { Failure } from '../policies/failure.ts';
import { openContext } from './context.ts';
import { describeError } from './errors.ts';
import { createOutput, type Streams } from './output.ts';
import { createProgram } from './program.ts';
import type { GlobalOptions } from './wiring.ts';

export interface RunOptions {
  streams?: Streams;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  signal?: AbortSignal;
}

/** Runs one command line (without `node backupctl`) and returns its exit code. Nothing is thrown. */
export async function run(argv: string[], options: RunOptions = {}): Promise<number> {
  const { streams = process, env = process.env, cwd = process.cwd() } = options;
  // Before the arguments are parsed an error may already have to be said in JSON.
  let out = createOutput({ streams, env, json: argv.includes('--json'), quiet: false, color: true });
  let exitCode = 0;
  const program = createProgram(async (global: GlobalOptions, command) => {
    out = createOutput({ streams, env, ...global });
    const context = openContext({
      out,
      env,
      cwd,
      signal: options.signal,
      ...(global.policy ? { policy: global.policy } : {}),
    });
    try {
      exitCode = (await command(context)) ?? 0;
    } finally {
      await context.close();
    }
  });
  program.configureOutput({ writeOut: (text) => streams.stdout.write(text), writeErr: () => {} });
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      return out.error(describeError(usage(error)));
    }
    return out.error(describeError(error));
  }
}

function usage(error: CommanderError): Failure {
  // Commander says `error: unknown command 'bakup'` and, on a line of its own, what was probably meant.
  const text = error.message.replace(/^error: /, '').replace(/\n/g, ' ');
  const said = error.code === 'commander.help' ? 'a command is missing' : text;
  return new Failure('UsageInvalid', `${said[0]?.toUpperCase()}${said.slice(1).replace(/\.$/, '')}.`, {
    next: 'See "backupctl --help", or "backupctl COMMAND --help".',
  });
}
