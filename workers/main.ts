import { writeFile } from 'node:fs/promises';
import { flushCompileCache } from 'node:module';
import { parseArgs } from 'node:util';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { keepFrameThreads } from '../engine/artifact/index.ts';
import { loadPolicy } from '../engine/config/index.ts';
import { endProcess } from '../engine/end-process.ts';
import { Failure, isFailure } from '../policies/failure.ts';
import { type Role, roles } from '../policies/queues.ts';
import { letHeapGrow } from './heap.ts';
import { startRole } from './roles.ts';

/** The steps of a job follow each other, and so do ranges of WAL. */
const threadsKeptMs = 10_000;

/**
 * `main.ts --role ROLE[,ROLE] --policy FILE [--host NAME] [--pinned]`: serves the roles' task queues until SIGTERM or
 * SIGINT.
 */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      role: { type: 'string' },
      policy: { type: 'string' },
      host: { type: 'string', default: 'local' },
      // Workflows end under the version that began them; for fleets that keep the old workers while they drain.
      pinned: { type: 'boolean', default: false },
      // Written once every role polls its queue; for whoever started this process.
      'ready-file': { type: 'string' },
    },
  });
  if (!values.policy) throw usage('--policy FILE is missing');
  const wanted = (values.role ?? '').split(',').filter((r) => r !== '');
  const unknown = wanted.filter((r) => !roles.includes(r as Role));
  if (wanted.length === 0 || unknown.length > 0) {
    throw usage(
      `--role takes one or more of ${roles.join(', ')}${unknown.length > 0 ? `, not ${unknown.join(', ')}` : ''}`,
    );
  }
  letHeapGrow();
  keepFrameThreads(threadsKeptMs);
  Runtime.install({ logger: new DefaultLogger('INFO'), shutdownSignals: ['SIGTERM', 'SIGINT'] });
  const policy = await loadPolicy(values.policy);
  const { host, pinned } = values;
  const running = await Promise.all(wanted.map((role) => startRole(role as Role, { policy, host, pinned })));
  // Also for one that is killed, which never gets to it at its end.
  flushCompileCache();
  process.stdout.write(`ready: ${wanted.join(', ')} on ${host}\n`);
  if (values['ready-file']) await writeFile(values['ready-file'], String(process.pid));
  await Promise.all(running.map((r) => r.done));
}

function usage(what: string): Failure {
  return new Failure('UsageInvalid', `The worker cannot start: ${what}.`, {
    next: 'Run: node workers/main.ts --role backup --policy policy.yaml --host NAME',
  });
}

try {
  await main();
  await endProcess(0);
} catch (error) {
  if (isFailure(error)) {
    process.stderr.write(`${error.message}\n${error.next}\n`);
    await endProcess(error.exitCode);
  }
  throw error;
}
