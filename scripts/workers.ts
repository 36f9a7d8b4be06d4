import { access, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { loadPolicy } from '../engine/config/index.ts';
import type { Role } from '../policies/queues.ts';
import { roleEnvironment } from './role-environment.ts';
import { type RunningProcess, startProcess } from './stack/process.ts';

export interface WorkersOptions {
  policyFile: string;
  logDir: string;
  roles: readonly Role[];
  host?: string;
  /** Told when a worker ended by itself, before it is started again. */
  onRestart?: (role: Role, how: string) => void;
}

export interface RunningWorkers {
  /** pid of a role's present process. */
  pid(role: Role): number;
  stop(): Promise<void>;
}

const restartDelayMs = 1_000;

/** Starts one worker process per role, and starts it again when it ends by itself. Ready when all of them poll. */
export async function startWorkers(options: WorkersOptions): Promise<RunningWorkers> {
  const running = new Map<Role, RunningProcess>();
  let stopping = false;
  const start = async (role: Role): Promise<void> => {
    const worker = await startWorker(role, options);
    running.set(role, worker);
    void supervise(role, worker);
  };
  const supervise = async (role: Role, worker: RunningProcess): Promise<void> => {
    const how = await worker.ended;
    while (!stopping) {
      options.onRestart?.(role, how);
      await setTimeout(restartDelayMs);
      if (stopping) return;
      try {
        await start(role);
        return;
      } catch (error) {
        options.onRestart?.(role, String(error));
      }
    }
  };
  const stop = async () => {
    stopping = true;
    await Promise.all([...running.values()].map((w) => w.stop()));
  };
  try {
    await Promise.all(options.roles.map(start));
  } catch (error) {
    await stop();
    throw error;
  }
  return { pid: (role) => running.get(role)?.pid ?? 0, stop };
}

async function startWorker(
  role: Role,
  { policyFile, logDir, host = 'local' }: WorkersOptions,
): Promise<RunningProcess> {
  const logFile = path.join(logDir, `worker-${role}.log`);
  const readyFile = path.join(logDir, `worker-${role}.ready`);
  await rm(readyFile, { force: true });
  return startProcess({
    name: `The ${role} worker`,
    program: process.execPath,
    args: [
      new URL('../workers/main.ts', import.meta.url).pathname,
      '--role',
      role,
      '--policy',
      policyFile,
      '--host',
      host,
      '--ready-file',
      readyFile,
    ],
    env: roleEnvironment(role, await loadPolicy(policyFile), host, process.env),
    logFile,
    failure: 'TemporalUnreachable',
    stopTimeoutMs: 30_000,
    ready: () =>
      access(readyFile).then(
        () => true,
        () => false,
      ),
  });
}
