import { access, constants, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createPostgresInstance, type PostgresInstance } from '../../engine/sites/index.ts';
import { Failure } from '../../policies/failure.ts';
import { findPostgres, findTemporal, findVersitygw } from './find.ts';
import { takeDataDir } from './ownership.ts';
import { freePort } from './process.ts';
import { ensureBucket, newAccessKey, newSecretKey, type S3Keys, startS3 } from './s3.ts';
import { ensureUsers, type S3Users } from './s3-users.ts';
import { newPassword, secretOnce } from './secrets.ts';
import { type Endable, supervise } from './supervise.ts';
import { connectTemporal, startTemporal } from './temporal.ts';
import type { RunningS3, RunningTemporal } from './types.ts';

export interface StackPorts {
  temporal: number;
  temporalUi: number;
  postgres: number;
  east: number;
  eastConsole: number;
  west: number;
  westConsole: number;
}

/** Taken when free; what was used last time on the same folder goes before them, what the user asks for before that. */
export const defaultPorts: StackPorts = {
  temporal: 7233,
  temporalUi: 8233,
  postgres: 5433,
  east: 7070,
  eastConsole: 7080,
  west: 7071,
  westConsole: 7081,
};

export interface StackOptions {
  /** Absolute; made when absent. Everything that lasts is below it. */
  dataDir: string;
  ports?: Partial<StackPorts>;
  /** Told what is done, one line each. */
  step?: (line: string) => void;
  /** Told of a server that ended by itself; it is started again where it was. */
  onRestart?: (line: string) => void;
  /** The S3 servers write a line per request into `s3-SIDE.access.log`. Default false. */
  accessLogs?: boolean;
}

/** Its own keys are those of the server's root user, which no worker is given. */
export interface StackS3 extends RunningS3 {
  users: S3Users;
}

/** Servers that end by themselves are started again at the same addresses; each property shows the present process. */
export interface Stack {
  readonly dataDir: string;
  readonly temporal: RunningTemporal;
  readonly postgres: PostgresInstance & { password: string };
  readonly east: StackS3;
  readonly west: StackS3;
  /** The bucket of that name is at both S3 servers, with versioning and Object Lock. */
  readonly bucket: string;
  /** Ends everything that was started, in order; idempotent. */
  stop(): Promise<void>;
}

export const bucketName = 'backups';

/**
 * Brings up everything the coordinator stands on: PostgreSQL, two S3 servers that play two regions, Temporal. A second
 * start on the same folder finds its data, secrets and ports again. Throws ClientToolMissing, UsageInvalid for a folder
 * that cannot be used, and whatever a server says that does not start; nothing is left running then.
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { dataDir, ports = {}, step = () => {}, onRestart = () => {}, accessLogs = false } = options;
  await prepareDataDir(dataDir);
  const ownership = await takeDataDir(dataDir);
  const running: { stop(): Promise<void> }[] = [];
  let stopping: Promise<void> | null = null;
  const stop = () => {
    stopping ??= (async () => {
      await Promise.allSettled(running.map((service) => service.stop()));
      await ownership.release();
    })();
    return stopping;
  };
  /** Keeps a server running at the same addresses. Also what comes up after another part has failed is ended. */
  const keep = async <T extends Endable>(
    name: string,
    start: (before: T | null) => Promise<T>,
    addressOf: (t: T) => string,
  ) => {
    const kept = await supervise<T>({
      onEnd: (how) => onRestart(`${name} ${how}; starting it again`),
      async start(before) {
        const server = await start(before);
        if (before === null || addressOf(server) === addressOf(before)) return server;
        await server.stop();
        throw new Failure('TargetUnusable', `somebody else has taken ${addressOf(before)}`, {
          next: 'See with `ss -ltnp` who listens there.',
        });
      },
    });
    running.push(kept);
    return kept;
  };
  try {
    const external = process.env.TEMPORAL_ADDRESS;
    step('components: looking for Temporal, the S3 server and PostgreSQL');
    const [{ binDir, major }] = await Promise.all([findPostgres(), findVersitygw(), external ? null : findTemporal()]);
    const wanted = { ...defaultPorts, ...(await lastPorts(dataDir)), ...defined(ports) };
    const password = await secretOnce(dataDir, 'postgres-password', newPassword);
    const at = (...below: string[]) => path.join(dataDir, ...below);

    const startPostgres = async () => {
      const port = await freePort(wanted.postgres);
      const kept = await keep(
        'PostgreSQL',
        (before: PostgresInstance | null) =>
          createPostgresInstance({ dataDir: at('postgres'), binDir, port: before?.port ?? port, password }),
        (server) => server.uri(),
      );
      step(`postgresql ${major}: 127.0.0.1:${kept.current.port}`);
      return kept;
    };
    const startRegion = async (side: 'east' | 'west', region: string) => {
      const keys = async (holder: string): Promise<S3Keys> => ({
        accessKeyId: await secretOnce(dataDir, `${side}-${holder}-access-key`, newAccessKey),
        secretAccessKey: await secretOnce(dataDir, `${side}-${holder}-secret-key`, newSecretKey),
      });
      const root = await keys('root');
      const kept = await keep(
        `The S3 server of ${region}`,
        (before: RunningS3 | null) =>
          startS3({
            dir: at(`s3-${side}`),
            region,
            port: portOf(before?.endpoint) ?? wanted[side],
            consolePort: portOf(before?.consoleUrl) ?? wanted[`${side}Console`],
            ...(accessLogs ? { accessLog: at(`s3-${side}.access.log`) } : {}),
            ...root,
          }),
        (server) => server.endpoint,
      );
      const server = kept.current;
      const users: S3Users = {
        write: await keys('write'),
        read: await keys('read'),
        delete: await keys('delete'),
        hold: await keys('hold'),
        rekey: await keys('rekey'),
      };
      await ensureBucket(server, bucketName, { objectLock: true });
      await ensureUsers(server, bucketName, users);
      step(`s3 ${region}: ${server.endpoint}, console ${server.consoleUrl}`);
      return { kept, users };
    };
    const startCoordination = async () => {
      const kept = await keep(
        'Temporal',
        (before: RunningTemporal | null) =>
          external
            ? connectTemporal(external)
            : startTemporal({
                dbFile: at('temporal.db'),
                port: portOf(before?.address) ?? wanted.temporal,
                uiPort: portOf(before?.uiUrl) ?? wanted.temporalUi,
              }),
        (server) => server.address,
      );
      step(`temporal: ${kept.current.address}, web UI ${kept.current.uiUrl}`);
      return kept;
    };
    const [postgres, east, west, temporal] = await allOrFirstFailure([
      startPostgres(),
      startRegion('east', 'us-east-1'),
      startRegion('west', 'us-west-2'),
      startCoordination(),
    ]);
    const stack: Stack = {
      dataDir,
      bucket: bucketName,
      get temporal() {
        return temporal.current;
      },
      get postgres() {
        return { ...postgres.current, password };
      },
      get east() {
        return { ...east.kept.current, users: east.users };
      },
      get west() {
        return { ...west.kept.current, users: west.users };
      },
      stop,
    };
    await writeFile(at('ports.json'), JSON.stringify(portsOf(stack), null, 2));
    await ownership.note({ temporal: stack.temporal.uiUrl, east: stack.east.endpoint, west: stack.west.endpoint });
    return stack;
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Like Promise.all, but waits for every one, so that nothing comes up after the clean-up. */
async function allOrFirstFailure<T extends readonly unknown[]>(all: { [K in keyof T]: Promise<T[K]> }): Promise<T> {
  const ends = await Promise.allSettled(all as readonly Promise<unknown>[]);
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  return Promise.all(all as readonly Promise<unknown>[]) as Promise<T & unknown[]> as Promise<T>;
}

async function prepareDataDir(dataDir: string): Promise<void> {
  try {
    await mkdir(path.join(dataDir, 'secrets'), { recursive: true, mode: 0o700 });
    await access(dataDir, constants.W_OK | constants.X_OK);
    await writeFile(path.join(dataDir, '.gitignore'), '*\n');
  } catch (error) {
    throw new Failure(
      'UsageInvalid',
      `The data folder ${dataDir} cannot be written (${(error as NodeJS.ErrnoException).code ?? String(error)}).`,
      {
        next: 'Name another one with --data DIR, or make this one writable.',
        cause: error,
      },
    );
  }
}

async function lastPorts(dataDir: string): Promise<Partial<StackPorts>> {
  const text = await readText(path.join(dataDir, 'ports.json'));
  try {
    const value: unknown = JSON.parse(text ?? '{}');
    const known = Object.entries(value ?? {}).filter(([name, port]) => name in defaultPorts && Number.isInteger(port));
    return Object.fromEntries(known);
  } catch {
    // Half a file after a crash: only a wish is lost.
    return {};
  }
}

async function readText(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function portsOf({ temporal, postgres, east, west }: Stack): Partial<StackPorts> {
  return defined({
    // Those of a Temporal that is not ours are no wish for the next start.
    ...(temporal.pid > 0 ? { temporal: portOf(temporal.address), temporalUi: portOf(temporal.uiUrl) } : {}),
    postgres: postgres.port,
    east: portOf(east.endpoint),
    eastConsole: portOf(east.consoleUrl),
    west: portOf(west.endpoint),
    westConsole: portOf(west.consoleUrl),
  });
}

/** Of a URL or HOST:PORT. */
function portOf(address: string | null | undefined): number | undefined {
  const digits = /:(\d+)\/?$/.exec(address ?? '')?.[1];
  return digits === undefined ? undefined : Number(digits);
}

function defined(ports: { [K in keyof StackPorts]?: number | undefined }): Partial<StackPorts> {
  return Object.fromEntries(Object.entries(ports).filter(([, port]) => port !== undefined));
}
