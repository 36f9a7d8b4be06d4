import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { endProcess } from '../engine/end-process.ts';
import { Failure, failureTypes, isFailure } from '../policies/failure.ts';
import { type MainOptions, runMain } from './main.ts';
import { type StackPorts, startStack } from './stack/stack.ts';

const usage = `npm start -- [options]

Brings up the embedded stack (Temporal with its web UI, PostgreSQL, two S3 servers), runs the main job on it, and keeps
serving until Ctrl-C.

  --data DIR              where everything is kept (.data)
  --policy FILE           your own policy; its top-level keys take the place of the embedded ones
  --once                  end after the job: 0 when it succeeded, otherwise the code of the failure
  --port-temporal N       7233     --port-ui N             8233     --port-postgres N       5433
  --port-s3-east N        7070     --port-s3-east-ui N     7080
  --port-s3-west N        7071     --port-s3-west-ui N     7081
                          a port that is in use is replaced by a free one
  --help
`;

const portOptions: Record<string, keyof StackPorts> = {
  'port-temporal': 'temporal',
  'port-ui': 'temporalUi',
  'port-postgres': 'postgres',
  'port-s3-east': 'east',
  'port-s3-east-ui': 'eastConsole',
  'port-s3-west': 'west',
  'port-s3-west-ui': 'westConsole',
};

interface Options extends MainOptions {
  dataDir: string;
  ports: Partial<StackPorts>;
  help: boolean;
}

function parse(args: string[]): Options {
  try {
    const { values } = parseArgs({
      args,
      options: {
        data: { type: 'string', default: '.data' },
        policy: { type: 'string' },
        once: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
        ...Object.fromEntries(Object.keys(portOptions).map((name) => [name, { type: 'string' } as const])),
      },
    });
    const given: Record<string, string | boolean | undefined> = values;
    const ports = Object.entries(portOptions).flatMap(([option, port]) => {
      const value = given[option];
      return value === undefined ? [] : [[port, portNumber(option, String(value))]];
    });
    return {
      dataDir: path.resolve(values.data),
      userPolicy: values.policy === undefined ? undefined : path.resolve(values.policy),
      once: values.once,
      help: values.help,
      ports: Object.fromEntries(ports),
    };
  } catch (error) {
    if (isFailure(error)) throw error;
    throw new Failure('UsageInvalid', `${(error as Error).message}.`, {
      next: 'See npm start -- --help.',
      cause: error,
    });
  }
}

function portNumber(option: string, text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  throw new Failure('UsageInvalid', `--${option} ${text} is no port.`, { next: 'Give a number from 1 to 65535.' });
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** What happened, why, and what to do next; the exit code tells programs. */
function report(error: unknown): number {
  if (!isFailure(error)) {
    process.stderr.write(`✗ ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    return 1;
  }
  process.stderr.write(`✗ ${error.message}\n  next: ${error.next}\n`);
  return error.exitCode;
}

/** Resolves at the first Ctrl-C or SIGTERM; further ones change nothing, for the end is under way. */
function untilSignal(): { ended: Promise<'signal'>; received: () => boolean } {
  let received = false;
  const ended = new Promise<'signal'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (!received) print('\nending …');
        received = true;
        resolve('signal');
      });
    }
  });
  return { ended, received: () => received };
}

async function main(): Promise<number> {
  const options = parse(process.argv.slice(2));
  if (options.help) {
    print(usage);
    return 0;
  }
  const { ended, received } = untilSignal();
  const startedAt = performance.now();
  const step = (line: string) =>
    print(`  ${((performance.now() - startedAt) / 1000).toFixed(1).padStart(5)} s  ${line}`);
  print(`Starting on ${options.dataDir}`);
  const onRestart = (line: string) => received() || print(`  ${line}`);
  const stack = await startStack({ dataDir: options.dataDir, ports: options.ports, step, onRestart });
  if (received()) {
    await stack.stop();
    return failureTypes.Interrupted.exitCode;
  }
  let served: Awaited<ReturnType<typeof runMain>> | null = null;
  let code = 0;
  try {
    const job = runMain(stack, options, { step, print, isEnding: received });
    const first = await Promise.race([job.then(() => 'job' as const), ended]);
    if (first === 'signal') {
      // What it waits for ends with the stack; its own failure then is no news.
      code = failureTypes.Interrupted.exitCode;
      void job.then((s) => s.stop()).catch(() => {});
      await Promise.race([job.then((s) => s.stop()).catch(() => {}), setTimeout(2_000)]);
    } else {
      served = await job;
      if (served.failure) code = report(served.failure);
      if (!options.once) {
        print('\nServing. Ctrl-C ends everything.');
        await ended;
      }
    }
  } catch (error) {
    code = report(error);
  } finally {
    await served?.stop();
    await stack.stop();
  }
  return options.once || !served ? code : 0;
}

// Every server has ended by now; idle connections of clients must not hold the process.
await endProcess(await main().catch(report));
