import { access, constants, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createPostgresInstance, type PostgresInstance } from '../../engine/sites/index.ts';
import { Failure } from '../../policies/failure.ts';
import { findPostgres, findTemporal, findVersitygw } from './find.ts';
import { takeDataDir } from './ownership.ts';
import { ensureBucket, newAccessKey, newSecretKey, type S3Keys, startS3 } from './s3.ts';
import { ensureUsers, type S3Users } from './s3-users.ts';
import { newPassword, secretOnce } from './secrets.ts';
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
}

/** Its own keys are those of the server's root user, which no worker is given. */
export interface StackS3 extends RunningS3 {
  users: S3Users;
}

export interface Stack {
  dataDir: string;
  temporal: RunningTemporal;
  postgres: PostgresInstance & { password: string };
  east: StackS3;
  west: StackS3;
  /** The bucket of that name is at both S3 servers, with versioning and Object Lock. */
  bucket: string;
  /** Ends everything that was started, in order; idempotent. */
  stop(): Promise<void>;
}

export const bucketName = 'backups';

/**
 * Brings up everything the coordinator stands on: PostgreSQL, two S3 servers that play two regions, Temporal. A second
 * start on the same folder finds its data, secrets and ports again. Throws ClientToolMissing, UsageInvalid for a folder
 * that cannot be used, and whatever a server says that does not start; nothing is left running then.
 */
export async function startStack({ dataDir, ports = {}, step = () => {} }: StackOptions): Promise<Stack> {
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
  /** Also what comes up after another part has failed is ended. */
  const keep = <T extends { stop(): Promise<void> }>(service: T): T => {
    running.push(service);
    return service;
  };
  try {
    const external = process.env.TEMPORAL_ADDRESS;
    step('components: looking for Temporal, the S3 server and PostgreSQL');
    const [{ binDir, major }] = await Promise.all([findPostgres(), findVersitygw(), external ? null : findTemporal()]);
    const wanted = { ...defaultPorts, ...(await lastPorts(dataDir)), ...defined(ports) };
    const password = await secretOnce(dataDir, 'postgres-password', newPassword);
    const at = (...below: string[]) => path.join(dataDir, ...below);

    const startPostgres = async () => {
      const instance = await createPostgresInstance({
        dataDir: at('postgres'),
        binDir,
        port: wanted.postgres,
        password,
      });
      step(`postgresql ${major}: 127.0.0.1:${instance.port}`);
      return keep(Object.assign(instance, { password }));
    };
    const startRegion = async (side: 'east' | 'west', region: string) => {
      const keys = async (holder: string): Promise<S3Keys> => ({
        accessKeyId: await secretOnce(dataDir, `${side}-${holder}-access-key`, newAccessKey),
        secretAccessKey: await secretOnce(dataDir, `${side}-${holder}-secret-key`, newSecretKey),
      });
      const server = keep(
        await startS3({
          dir: at(`s3-${side}`),
          region,
          port: wanted[side],
          consolePort: wanted[`${side}Console`],
          ...(await keys('root')),
        }),
      );
      const users: S3Users = {
        write: await keys('write'),
        read: await keys('read'),
        delete: await keys('delete'),
        hold: await keys('hold'),
      };
      await ensureBucket(server, bucketName, { objectLock: true });
      await ensureUsers(server, bucketName, users);
      step(`s3 ${region}: ${server.endpoint}, console ${server.consoleUrl}`);
      return { ...server, users };
    };
    const startCoordination = async () => {
      const server = keep(
        external
          ? await connectTemporal(external)
          : await startTemporal({ dbFile: at('temporal.db'), port: wanted.temporal, uiPort: wanted.temporalUi }),
      );
      step(`temporal: ${server.address}, web UI ${server.uiUrl}`);
      return server;
    };
    const [postgres, east, west, temporal] = await allOrFirstFailure([
      startPostgres(),
      startRegion('east', 'us-east-1'),
      startRegion('west', 'us-west-2'),
      startCoordination(),
    ]);
    await writeFile(at('ports.json'), JSON.stringify(portsOf(temporal, postgres, east, west), null, 2));
    await ownership.note({ temporal: temporal.uiUrl, east: east.endpoint, west: west.endpoint });
    return { dataDir, temporal, postgres, east, west, bucket: bucketName, stop };
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

function portsOf(
  temporal: RunningTemporal,
  postgres: PostgresInstance,
  east: RunningS3,
  west: RunningS3,
): Partial<StackPorts> {
  const port = (url: string | null) => Number(new URL(url ?? 'http://x:0').port) || undefined;
  return {
    // Those of a Temporal that is not ours are no wish for the next start.
    ...(temporal.pid > 0 ? { temporal: port(`http://${temporal.address}`), temporalUi: port(temporal.uiUrl) } : {}),
    postgres: postgres.port,
    east: port(east.endpoint),
    eastConsole: port(east.consoleUrl),
    west: port(west.endpoint),
    westConsole: port(west.consoleUrl),
  };
}

function defined(ports: Partial<StackPorts>): Partial<StackPorts> {
  return Object.fromEntries(Object.entries(ports).filter(([, port]) => port !== undefined));
}
