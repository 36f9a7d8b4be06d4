import type { Command } from 'commander';
import { type On, wholeNumber } from './wiring.ts';

/** Commands that decide what stays, and who opens it. */
export function addRetention(program: Command, on: On): void {
  const retention = program.command('retention').description('which recovery points stay, which go, and why');
  on<[string | undefined], object>(
    retention
      .command('plan')
      .argument('[source]')
      .description('of each recovery point whether it stays or goes, and why; changes nothing'),
    async (context, _options, source) =>
      (await import('./commands/retention.ts')).retentionPlan(context, source === undefined ? {} : { source }),
  );
  on<[], { source?: string; operator?: string; reason?: string; wait: boolean }>(
    retention
      .command('run')
      .description('mark what may go, and remove what has been marked for the time of grace')
      .option('--source <name>', 'of this source only')
      .option('--operator <name>', 'who asks for it')
      .option('--reason <text>', 'why')
      .option('--wait', 'show how it goes until it has ended', false),
    async (context, options) => (await import('./commands/retention.ts')).retentionRun(context, options),
  );
  on<[string], { operator?: string; reason?: string }>(
    retention
      .command('resume')
      .argument('<source>')
      .description('say that a source which has changed suddenly is in order, so that its old points may go')
      .option('--operator <name>', 'who has looked')
      .option('--reason <text>', 'why it is in order'),
    async (context, options, source) =>
      (await import('./commands/retention.ts')).retentionResume(context, { source, ...options }),
  );
  on<[string | undefined], { limit: number }>(
    retention
      .command('history')
      .argument('[source]')
      .description('what was removed, when, and why')
      .option('--limit <number>', 'at most so many', wholeNumber, 50),
    async (context, options, source) =>
      (await import('./commands/retention.ts')).retentionHistory(context, {
        ...options,
        ...(source === undefined ? {} : { source }),
      }),
  );
}

export function addKey(program: Command, on: On): void {
  const key = program.command('key').description('whom points are sealed for: their wrapped keys, not their data');
  on<[string[]], { copy?: string }>(
    key
      .command('status')
      .argument('[source...]')
      .description('who opens how many points, and which the present recipients do not open')
      .option('--copy <name>', 'in this copy only'),
    async (context, options, sources) =>
      (await import('./commands/key-status.ts')).keyStatus(context, { sources, ...options }),
  );
  for (const [action, words] of [
    ['rotate', "wrap the keys of points for the policy's present recipients, in every copy"],
    ['revoke', 'the same, and take the former wrapped keys away where locks allow'],
  ] as const) {
    on<[string[]], { from?: string[]; host?: string; operator?: string; reason?: string; wait: boolean }>(
      key
        .command(action)
        .argument('[name...]', 'sources and recovery points; default: every source')
        .description(words)
        .option('--from <copy...>', 'in these copies only')
        .option('--host <name>', "the machine whose recovery worker does it (default: the source's)")
        .option('--operator <name>', 'who asks for it')
        .option('--reason <text>', 'why')
        .option('--wait', 'show how it goes until it has ended', false),
      async (context, options, names) =>
        (await import('./commands/key.ts')).rekey(context, { action, names, ...options }),
    );
  }
}
