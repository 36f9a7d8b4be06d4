import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import pg from 'pg';
import { createPostgresInstance, type PostgresInstance } from '../../../engine/sites/index.ts';
import { roles } from '../../../policies/queues.ts';
import { loginPasswords } from '../../../scripts/embedded-policy.ts';
import { ensureBackupLogin } from '../../../scripts/stack/database.ts';
import { type Supervised, supervise } from '../../../scripts/stack/supervise.ts';
import { startWhole, type Whole } from '../../support/whole.ts';

/** Something that can be killed, and is started again on the same data and port. */
export interface Component {
  name: string;
  /** Of its present process; while it is started again, of the one that has ended. */
  pid(): number;
}

/** The whole stack with small sources of every kind, whose database server is not that of the catalog. */
export interface World {
  whole: Whole;
  components: Component[];
  /** The server that `shop` and `cluster` lie on. */
  source(): PostgresInstance;
  /** What `tree` or `films` protects. */
  folder(source: Source): string;
  stop(): Promise<void>;
}

/** `films` is large enough to be sent while it is being sealed. */
export const sources = ['shop', 'cluster', 'tree', 'films'] as const;
export type Source = (typeof sources)[number];

export async function startWorld(): Promise<World> {
  const started: { source?: Supervised<PostgresInstance> } = {};
  const stop = async () => {
    await started.source?.stop();
    await whole?.stop();
  };
  let whole: Whole | null = null;
  try {
    whole = await startWhole({
      before: async ({ dataDir }) => {
        started.source = await startSource(path.join(dataDir, 'postgres-source'));
        await makeShop(started.source.current, (await loginPasswords(dataDir)).backup);
        await makeFiles(path.join(dataDir, 'tree'), { files: 12, bytes: 512 * 1024 });
        await makeFiles(path.join(dataDir, 'films'), { files: 7, bytes: 4 * 1024 * 1024 });
      },
      sources: ({ dataDir }) => {
        const { host, port } = started.source?.current ?? { host: '', port: 0 };
        const login = { host, port, user: 'backup', password: `file:${dataDir}/secrets/backup-password` };
        return [
          { name: 'shop', kind: 'postgres-logical', connection: { ...login, database: 'shop' } },
          { name: 'cluster', kind: 'postgres-physical', connection: login },
          { name: 'tree', kind: 'files', path: path.join(dataDir, 'tree') },
          { name: 'films', kind: 'files', path: path.join(dataDir, 'films') },
        ];
      },
      adapt: (policy) => {
        // More than the machine can do at once: jobs whose worker was killed wait for a while, and others go on.
        policy.limits.backupSlots = 6;
        // Everything but the newest goes as soon as it may, so that jobs also prune, and retention has work.
        policy.retention = { ...policy.retention, minimumAge: '1s', keepWithin: '1s', keepManual: '1s', grace: '1s' };
        for (const copy of policy.copies) if (copy.kind === 'directory') copy.pruneAfter = '1s';
      },
    });
  } catch (error) {
    await started.source?.stop();
    throw error;
  }
  const { stack, workers, dataDir } = whole;
  return {
    whole,
    components: [
      ...roles.map((role) => ({ name: `${role} worker`, pid: () => workers.pid(role) })),
      { name: 'Temporal', pid: () => stack.temporal.pid },
      { name: 'S3 east', pid: () => stack.east.pid },
      { name: 'S3 west', pid: () => stack.west.pid },
      { name: "catalog's PostgreSQL", pid: () => stack.postgres.pid },
      { name: "source's PostgreSQL", pid: () => started.source?.current.pid ?? 0 },
    ],
    source: () => {
      if (!started.source) throw new Error('there is no source');
      return started.source.current;
    },
    folder: (source) => path.join(dataDir, source),
    stop,
  };
}

async function startSource(dataDir: string): Promise<Supervised<PostgresInstance>> {
  const password = randomBytes(12).toString('hex');
  return supervise<PostgresInstance>({
    async start(before) {
      const server = await createPostgresInstance({ dataDir, password, ...(before ? { port: before.port } : {}) });
      if (before === null || before.port === server.port) return server;
      await server.stop();
      throw new Error(`port ${before.port} is taken`);
    },
  });
}

/** Rows that do not compress, so that there is something to send. */
async function makeShop(server: PostgresInstance, password: string): Promise<void> {
  const run = async (database: string, ...statements: [string, unknown[]?][]) => {
    const client = new pg.Client({ connectionString: server.uri(database) });
    await client.connect();
    for (const [text, values] of statements) await client.query(text, values);
    await client.end();
  };
  await run('postgres', ['CREATE DATABASE shop']);
  await run(
    'shop',
    ['CREATE TABLE photos (id int PRIMARY KEY, taken timestamptz NOT NULL, pixels bytea NOT NULL)'],
    ...Array.from({ length: 16 }, (_, id): [string, unknown[]] => [
      'INSERT INTO photos VALUES ($1, now(), $2)',
      [id, randomBytes(256 * 1024)],
    ]),
  );
  await ensureBackupLogin(server.uri(), password, ['shop']);
}

async function makeFiles(root: string, { files, bytes }: { files: number; bytes: number }): Promise<void> {
  for (let i = 0; i < files; i++) {
    const folder = path.join(root, `year-${2000 + (i % 4)}`);
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, `film-${i}.bin`), randomBytes(bytes));
    await writeFile(path.join(folder, `note-${i}.txt`), `note ${i}\n`.repeat(i));
  }
}

/**
 * SIGKILL of a component's present process, once there is one: it may still be started again. What the pid names is
 * looked at first, for a number that was let go may belong to anybody.
 */
export async function killComponent({ whole }: World, component: Component): Promise<boolean> {
  const pid = component.pid();
  const command = pid > 0 ? await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(gone) : '';
  if (!command.includes(whole.dataDir)) return false;
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch (error) {
    return gone(error) !== '';
  }
}

/** It has ended meanwhile. */
function gone(error: unknown): string {
  if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return '';
  throw error;
}
