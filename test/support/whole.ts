import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { stringify } from 'yaml';
import type { Policy } from '../../policies/policy.ts';
import { roles } from '../../policies/queues.ts';
import { prepare } from '../../scripts/prepare.ts';
import { type Stack, startStack } from '../../scripts/stack/stack.ts';
import { type RunningWorkers, startWorkers } from '../../scripts/workers.ts';
import { backupctl, type Ran } from '../client/terminal.ts';

/** The whole of it, as `npm start` brings it up, for one test file: its own servers, policy, secrets and workers. */
export interface Whole {
  dataDir: string;
  stack: Stack;
  policy: Policy;
  client: Client;
  workers: RunningWorkers;
  /** Every secret of the stack: name of its file, and value. */
  secrets: Map<string, string>;
  /** Runs backupctl on its policy, with `--json`; throws with what it said when it fails. */
  backupctl<T>(...argv: string[]): Promise<T>;
  /** The same, whatever its exit code. */
  tryBackupctl(...argv: string[]): Promise<Ran>;
  stop(): Promise<void>;
}

export interface WholeOptions {
  /** The policy's sources, in the place of the samples. */
  sources(stack: Stack): object[];
  /** Changes the policy before the workers read it. */
  adapt?(policy: Policy): void;
  /** The S3 servers write a line per request into `s3-SIDE.access.log`. */
  accessLogs?: boolean;
  /** What must be there before the workers start. */
  before?(stack: Stack): Promise<void>;
}

export async function startWhole({ sources, adapt, accessLogs = false, before }: WholeOptions): Promise<Whole> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'whole-'));
  const closers: (() => Promise<unknown>)[] = [() => rm(dataDir, { recursive: true, force: true })];
  const stop = async () => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const ports = { temporal: 0, temporalUi: 0, postgres: 0, east: 0, eastConsole: 0, west: 0, westConsole: 0 };
    const stack = await startStack({ dataDir, ports, accessLogs });
    closers.push(() => stack.stop());
    await before?.(stack);
    const userPolicy = path.join(dataDir, 'own.yaml');
    await writeFile(userPolicy, stringify({ sources: sources(stack) }));
    const { file, policy } = await prepare(stack, { userPolicy });
    adapt?.(policy);
    await writeFile(file, stringify(policy));
    await mkdir(path.join(dataDir, 'restored'));
    const workers = await startWorkers({ policyFile: file, logDir: path.join(dataDir, 'logs'), roles });
    closers.push(() => workers.stop());
    const connection = await Connection.connect({ address: stack.temporal.address });
    closers.push(() => connection.close());
    const tryBackupctl = (...argv: string[]) => backupctl(['--policy', file, '--json', ...argv]);
    return {
      dataDir,
      stack,
      policy,
      workers,
      client: new Client({ connection, namespace: stack.temporal.namespace }),
      secrets: await secretsIn(path.join(dataDir, 'secrets')),
      tryBackupctl,
      async backupctl<T>(...argv: string[]) {
        const { exitCode, stdout, stderr } = await tryBackupctl(...argv);
        if (exitCode !== 0) throw new Error(`backupctl ${argv.join(' ')} ended with ${exitCode}: ${stderr}${stdout}`);
        return JSON.parse(stdout) as T;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function secretsIn(folder: string): Promise<Map<string, string>> {
  const values = new Map<string, string>();
  for (const name of await readdir(folder)) {
    values.set(name, (await readFile(path.join(folder, name), 'utf8')).trim());
  }
  return values;
}
