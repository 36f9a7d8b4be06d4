import { Command, InvalidArgumentError, Option } from 'commander';
import { level } from '../policies/recovery-point.ts';
import type { RightsOptions } from './commands/policy-rights.ts';
import type { SimulateOptions } from './commands/policy-simulate.ts';
import type { Context } from './context.ts';
import { exitCodesHelp } from './exit-codes.ts';
import { addKey, addRetention } from './program-upkeep.ts';
import { type Execute, type GlobalOptions, type On, wholeNumber } from './wiring.ts';

/** The commands and their options. Each loads its own module when it runs, so that starting up stays quick. */
export function createProgram(execute: Execute): Command {
  const program = new Command('backupctl')
    .description('Backups and restores of the backup coordinator.')
    .option('--policy <file>', 'the policy file (default: $BACKUP_POLICY, ./policy.yaml, .data/policy.yaml)')
    .option('--json', 'print exactly one JSON document', false)
    .option('--quiet', 'print results and errors only', false)
    .option('--no-color', 'print without colours')
    .exitOverride()
    .addHelpText('after', exitCodesHelp());

  const on: On = <A extends unknown[], O>(
    command: Command,
    work: (context: Context, options: O, ...args: A) => Promise<number | undefined>,
  ) =>
    command.action((...given: unknown[]) => {
      const self = given.at(-1) as Command;
      const args = given.slice(0, -2) as A;
      return execute(self.optsWithGlobals<GlobalOptions>(), (context) => work(context, self.opts() as O, ...args));
    });

  const policy = program.command('policy').description('the policy file');
  on<[string | undefined], object>(
    policy
      .command('check')
      .argument('[file]')
      .description('say whether a policy file is valid, and what is wrong with it'),
    async (context, _options, file) => (await import('./commands/policy-check.ts')).policyCheck(context, file),
  );

  on<[string], RightsOptions>(
    policy
      .command('rights')
      .argument('<copy>')
      .description('print the bucket policy that gives each role what it needs in the bucket of a copy, and no more')
      .requiredOption('--write <principal>', 'who puts: an ARN on AWS, an access key id on versitygw')
      .requiredOption('--read <principal>', 'who only reads')
      .requiredOption('--delete <principal>', 'who removes')
      .requiredOption('--hold <principal>', 'who sets and lifts legal holds')
      .requiredOption('--rekey <principal>', 'who puts keys that were wrapped anew')
      .option('--aws', 'with the conditions that only AWS knows: no unconditional puts, no endless locks', false),
    async (context, options, name) =>
      (await import('./commands/policy-rights.ts')).policyRights(context, { name, ...options }),
  );

  for (const [name, words, dryRun] of [
    ['diff', 'show what applying the policy would change', true],
    ['apply', "make Temporal's schedules what the policy says", false],
  ] as const) {
    on<[], object>(policy.command(name).description(words), async (context) =>
      (await import('./commands/policy-apply.ts')).policyApply(context, { dryRun }),
    );
  }

  on<[], SimulateOptions>(
    policy
      .command('simulate')
      .description('what the policy will keep, where, and at what cost; nothing is run')
      .requiredOption('--years <number>', 'how far ahead, at most 100', yearsAhead)
      .option('--from <date>', 'beginning at this date (default: today)')
      .option('--html <file>', 'also write pictures of it to this file')
      .option('--gib <number>', 'stored size of a full backup of a source that has none yet, in GiB', amount, 100)
      .option('--change <percent>', 'of a source that changes in a day, where nothing tells', share, 2)
      .option('--growth <percent>', 'by which a source grows in a year, where nothing tells', amount, 20)
      .option('--restores <number>', 'full restores of each source in a year', amount, 4),
    async (context, options) => (await import('./commands/policy-simulate.ts')).policySimulate(context, options),
  );

  const schedule = program.command('schedule').description('when backups start by themselves');
  on<[], object>(
    schedule.command('list').description('the next backup of each source, and whether its schedule is on'),
    async (context) => (await import('./commands/schedule.ts')).scheduleList(context),
  );
  for (const [action, words] of [
    ['pause', 'start no backup of a source by itself'],
    ['resume', 'go by the calendar again'],
  ] as const) {
    on<[string], { operator?: string; reason?: string }>(
      schedule
        .command(action)
        .argument('<source>')
        .description(words)
        .option('--operator <name>', 'who asks for it')
        .option('--reason <text>', 'why'),
      async (context, options, source) =>
        (await import('./commands/schedule.ts')).scheduleSwitch(context, { source, action, ...options }),
    );
  }
  on<[string], object>(
    schedule.command('trigger').argument('<source>').description('make the backup that is due next, now'),
    async (context, _options, source) => (await import('./commands/schedule.ts')).scheduleTrigger(context, { source }),
  );

  const backup = program.command('backup').description('recovery points');
  on<[string], { level: string; anytime: boolean; wait: boolean }>(
    backup
      .command('run')
      .argument('<source>')
      .description('start a backup')
      .addOption(new Option('--level <level>', 'how much of it').choices(level.options).default('full'))
      .option('--anytime', "begin now, also outside of the source's hours", false)
      .option('--wait', 'show how it goes until it has ended', false),
    async (context, options, source) =>
      (await import('./commands/backup-run.ts')).backupRun(context, { source, ...options }),
  );
  on<[string | undefined], { limit: number }>(
    backup
      .command('list')
      .argument('[source]')
      .description('list recovery points, newest first')
      .option('--limit <number>', 'at most so many', wholeNumber, 50),
    async (context, options, source) =>
      (await import('./commands/backup-list.ts')).backupList(context, { source, ...options }),
  );
  on<[string], object>(
    backup.command('show').argument('<id>').description('all that is known of one recovery point'),
    async (context, _options, id) => (await import('./commands/backup-show.ts')).backupShow(context, id),
  );
  on<[string | undefined], { all: boolean; copy?: string }>(
    backup
      .command('verify')
      .argument('[id]')
      .description('read recovery points back, whole, and compare every object, segment, frame and block')
      .option('--all', 'every recovery point', false)
      .option('--copy <name>', 'in this copy only'),
    async (context, options, id) =>
      (await import('./commands/backup-verify.ts')).backupVerify(context, { id, ...options }),
  );

  on<[string], { copy?: string; wait: boolean }>(
    backup
      .command('repair')
      .argument('<id>')
      .description('put what is damaged or missing in a copy of a recovery point again, from another copy')
      .option('--copy <name>', 'mend this copy only, also where the point never was')
      .option('--wait', 'show how it goes until it has ended', false),
    async (context, options, id) => (await import('./commands/repair.ts')).backupRepair(context, { id, ...options }),
  );

  interface RestoreFlags {
    point?: string;
    from?: string;
    path?: string[];
    tablespace?: string[];
    to?: string;
    timeline?: number;
    into?: string;
    host?: string;
    operator?: string;
    reason?: string;
    wait: boolean;
  }
  on<[string], RestoreFlags>(
    program
      .command('restore')
      .argument('<source>')
      .description('restore a recovery point into an empty directory or database')
      .option('--point <id>', 'which one (default: the newest)')
      .option('--to <moment>', 'a cluster as it was: a time, a position, xid:NUMBER, name:TEXT, or latest')
      .option('--timeline <number>', 'with --to: the timeline to follow (default: the newest)', wholeNumber)
      .option('--from <copy>', 'the copy to read from (default: the first that has it)')
      .option('--path <glob...>', 'only what matches (files)')
      .option('--into <target>', 'a directory, or postgresql://USER@HOST:PORT/DATABASE without a password')
      .option('--tablespace <old=new...>', 'the folder for a tablespace (clusters; default: below the directory)')
      .option('--host <name>', 'the machine whose recovery worker writes it (default: local)')
      .option('--operator <name>', 'who asks for it')
      .option('--reason <text>', 'why')
      .option('--wait', 'show how it goes until it has ended', false),
    async (context, options, source) =>
      (await import('./commands/restore.ts')).restore(context, { source, ...options }),
  );

  const hold = program.command('hold').description('legal holds: what nobody may remove until a person lifts it');
  for (const [action, words] of [
    ['add', 'hold a recovery point in every copy'],
    ['remove', 'lift the hold on a recovery point'],
  ] as const) {
    on<[string], { operator?: string; reason?: string }>(
      hold
        .command(action)
        .argument('<id>')
        .description(words)
        .option('--operator <name>', 'who asks for it')
        .option('--reason <text>', 'why'),
      async (context, options, id) => (await import('./commands/hold.ts')).hold(context, { action, id, ...options }),
    );
  }
  on<[], { all: boolean }>(
    hold.command('list').description('what is held, by whom and why').option('--all', 'also what was lifted', false),
    async (context, options) => (await import('./commands/hold.ts')).holdList(context, options),
  );

  addRetention(program, on);
  addKey(program, on);

  const wal = program.command('wal').description('the write-ahead log of clusters');
  on<[string], object>(
    wal
      .command('status')
      .argument('<source>')
      .description('how far it is archived in each copy, and what the server keeps'),
    async (context, _options, source) => (await import('./commands/wal-status.ts')).walStatus(context, { source }),
  );
  on<[string], { copy?: string; read: boolean }>(
    wal
      .command('verify')
      .argument('<source>')
      .description('say what is archived, and what of it is missing or damaged')
      .option('--copy <name>', 'in this copy only')
      .option('--read', 'also read all of it, which takes the identity', false),
    async (context, options, source) =>
      (await import('./commands/wal-verify.ts')).walVerify(context, { source, ...options }),
  );
  on<[string], { copy?: string; wait: boolean }>(
    wal
      .command('repair')
      .argument('<source>')
      .description('put what is damaged or missing in a copy of it again, from another copy')
      .option('--copy <name>', 'mend this copy only')
      .option('--wait', 'show how it goes until it has ended', false),
    async (context, options, source) =>
      (await import('./commands/repair.ts')).walRepair(context, { source, ...options }),
  );

  const catalog = program.command('catalog').description('the index of recovery points');
  on<[], { from?: string; all: boolean }>(
    catalog
      .command('rebuild')
      .description('make the catalog again from the stores')
      .option('--from <copy>', 'from this copy, looking its points up in the others')
      .option('--all', 'from all copies', false),
    async (context, options) => (await import('./commands/catalog.ts')).catalogRebuild(context, options),
  );
  on<[], object>(
    catalog.command('verify').description('list what differs between the catalog and the stores'),
    async (context) => (await import('./commands/catalog.ts')).catalogVerify(context),
  );

  on<[], object>(
    program.command('status').description('what runs, what waits, and how old each newest recovery point is'),
    async (context) => (await import('./commands/status.ts')).status(context),
  );

  const coordinator = program.command('coordinator').description('admission of backup jobs');
  for (const [action, words] of [
    ['pause', 'give no new slots; what runs goes on'],
    ['resume', 'give slots again'],
    ['drain', 'give no new slots, and say when the last job is done'],
    ['restrict', 'give slots to critical sources only, until it is lifted'],
    ['lift', 'give slots to every source again, whatever is under strain now'],
  ] as const) {
    on<[], { operator?: string; reason?: string }>(
      coordinator
        .command(action)
        .description(words)
        .option('--operator <name>', 'who asks for it')
        .option('--reason <text>', 'why'),
      async (context, options) =>
        (await import('./commands/coordinator.ts')).coordinator(context, { action, ...options }),
    );
  }

  on<[], { all: boolean; limit: number }>(
    program
      .command('incidents')
      .description('what a person must know of')
      .option('--all', 'those that are resolved, too', false)
      .option('--limit <number>', 'at most so many', wholeNumber, 50),
    async (context, options) => (await import('./commands/incidents.ts')).incidents(context, options),
  );
  on<[], { host: string }>(
    program
      .command('doctor')
      .description('check everything that a job needs, and say what to do about what is missing')
      .option('--host <name>', 'the name of this machine in the policy', 'local'),
    async (context, options) => (await import('./commands/doctor.ts')).doctor(context, options),
  );
  return inherit(program);
}

/** Settings of the root that commander does not hand down to commands made earlier. */
function inherit(program: Command): Command {
  for (const command of program.commands) {
    command.exitOverride().configureOutput({ writeErr: () => {} });
    // Global options are shown with every command's help.
    command.configureHelp({ showGlobalOptions: true });
    inherit(command);
  }
  return program;
}

function amount(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0 && value <= 1e9) return value;
  throw new InvalidArgumentError('Give a number of at least 0.');
}

function share(text: string): number {
  const value = amount(text);
  if (value <= 100) return value;
  throw new InvalidArgumentError('Give a number of at most 100.');
}

function yearsAhead(text: string): number {
  const value = amount(text);
  if (value > 0 && value <= 100) return value;
  throw new InvalidArgumentError('Give a number of years, at most 100.');
}
