import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { applyArchives, archiveChanges } from '../client/archives.ts';
import { applyChanges, readWanted } from '../client/schedules.ts';
import { Failure } from '../policies/failure.ts';
import { roles } from '../policies/queues.ts';
import { desiredSchedules, scheduleChanges } from '../policies/schedules.ts';
import { runMainJob } from './main-job.ts';
import { prepare } from './prepare.ts';
import type { Stack } from './stack/stack.ts';
import { startWorkers } from './workers.ts';

export interface MainOptions {
  /** Absolute path of the user's own policy file. */
  userPolicy?: string;
  once: boolean;
}

export interface MainOutput {
  step(line: string): void;
  print(line: string): void;
  /** True once the end was asked for: workers that end then are no news. */
  isEnding(): boolean;
}

export interface Served {
  /** Why the job did not succeed, null when it did. The workers go on in either case. */
  failure: unknown;
  /** Ends the workers and our connection; the stack is the caller's. */
  stop(): Promise<void>;
}

/** What runs on the stack: policy, sample data, workers, the main job; then the workers serve until `stop`. */
export async function runMain(stack: Stack, options: MainOptions, output: MainOutput): Promise<Served> {
  const { dataDir, postgres, temporal, east, west } = stack;
  const { step, print } = output;
  const { file, policy } = await prepare(stack, { userPolicy: options.userPolicy, step });
  const workers = await startWorkers({
    policyFile: file,
    logDir: path.join(dataDir, 'logs'),
    roles,
    onRestart: (role, how) => output.isEnding() || print(`  the ${role} worker ${how}; starting it again`),
  });
  let connection: Connection | null = null;
  const stop = async () => {
    await connection?.close();
    await workers.stop();
  };
  try {
    connection = await Connection.connect({ address: temporal.address });
    const client = new Client({ connection, namespace: temporal.namespace });
    step(`workers: ${roles.join(', ')}`);
    const schedules = desiredSchedules(policy);
    await applyChanges(client, scheduleChanges(schedules, await readWanted(client, schedules)));
    const archives = await archiveChanges(client, policy);
    await applyArchives(client, archives);
    step(`schedules: ${schedules.map((s) => s.id).join(', ') || 'none'}`);
    const archived = [...archives.start, ...archives.same];
    if (archived.length > 0) step(`archiving WAL: ${archived.join(', ')}`);
    step('ready');
    print('');
    const failure = await runMainJob({
      client,
      policy,
      workDir: path.join(dataDir, 'restored'),
      restoreServer: postgres.uri(),
      print,
    }).then(
      () => null,
      (error: unknown) =>
        error ?? new Failure('SourceFailed', 'The main job failed.', { next: 'Look at the Temporal Web UI.' }),
    );
    print('');
    print(`Temporal UI   ${temporal.uiUrl}`);
    for (const server of [east, west])
      print(`S3 ${server.region}  ${server.endpoint}   console ${server.consoleUrl ?? 'none'}`);
    print(`Their keys    ${path.join(dataDir, 'secrets')}`);
    print(`Look further  npm run backupctl -- --policy ${file} status`);
    return { failure, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
