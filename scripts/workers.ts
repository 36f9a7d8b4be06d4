import { access, rm } from 'node:fs/promises';
import path from 'node:path';
import { loadPolicy } from '../engine/config/index.ts';
import type { Role } from '../policies/queues.ts';
import { nodeEnvironment, nodeFlags } from '../workers/heap.ts';
import { roleEnvironment } from './role-environment.ts';
import { type RunningProcess, startProcess } from './stack/process.ts';
import { type Supervised, supervise } from './stack/supervise.ts';

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

/** Starts one worker process per role, and starts it again when it ends by itself. Ready when all of them poll. */
export async function startWorkers(options: WorkersOptions): Promise<RunningWorkers> {
  const running = new Map<Role, Supervised<RunningProcess>>();
  const stop = async () => {
    await Promise.all([...running.values()].map((worker) => worker.stop()));
  };
  const ends = await Promise.allSettled(
    options.roles.map(async (role) => {
      const onEnd = (how: string) => options.onRestart?.(role, how);
      running.set(role, await supervise({ start: () => startWorker(role, options), onEnd }));
    }),
  );
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed) {
    await stop();
    throw failed.reason;
  }
  return { pid: (role) => running.get(role)?.current.pid ?? 0, stop };
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
      ...nodeFlags,
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
    env: { ...nodeEnvironment, ...roleEnvironment(role, await loadPolicy(policyFile), host, process.env) },
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
