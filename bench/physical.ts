import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync } from 'node:fs';
import { readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import pg from 'pg';
import { createPostgresInstance, type PostgresInstance, unprivilegedUser } from '../engine/sites/index.ts';
import { nodeEnvironment } from '../workers/heap.ts';
import { type BenchContext, factsOf, freshFolders, mib, ratio, table } from './context.ts';
import { engineCommand } from './engine.ts';
import { type Cost, inTurn, measure } from './measure.ts';
import { untilReady } from './ready.ts';

const links = 10;
const names = ['ours', 'pgbackrest'] as const;
type Tool = (typeof names)[number];

/**
 * A whole cluster under pgbench: full, ten incremental backups, each after as many transactions again, and restores of the
 * first and the last, until a server on what was restored takes writes. Both tools compress by zstd -3, encrypt by AES-256, and store into a folder of the same disk.
 */
export async function benchPhysical(
  context: BenchContext,
  { scale, transactions }: { scale: number; transactions: number },
): Promise<string> {
  const dir = path.join(context.dir, 'physical');
  const user = await unprivilegedUser();
  mkdirSync(dir, { mode: 0o755 });
  for (const name of ['repo', 'lock', 'log', 'spool', 'store']) {
    mkdirSync(path.join(dir, name));
    if (user) chownSync(path.join(dir, name), user.uid, user.gid);
  }
  mkdirSync(path.join(dir, 'restored'), { mode: 0o755 });
  const conf = path.join(dir, 'pgbackrest.conf');
  const server = await createPostgresInstance({
    dataDir: path.join(dir, 'pg', 'data'),
    settings: {
      shared_buffers: '256MB',
      max_wal_size: '2GB',
      archive_mode: 'on',
      archive_command: `pgbackrest --config=${conf} --stanza=bench archive-push %p`,
    },
  });
  try {
    await writeFile(conf, configuration(dir, server), { mode: 0o644 });
    const tools = {
      ours: await ourRuns(context, dir, server),
      pgbackrest: await theirRuns(context.bytesIn, dir, conf, server),
    };
    const pgbench = (...args: string[]) =>
      execFileSync(path.join(server.binDir, 'pgbench'), [...args, server.uri()], { stdio: 'ignore' });
    pgbench('-i', '-q', '-s', String(scale));
    const bytes = await databaseBytes(server);
    await tools.pgbackrest.prepare();
    const full = await inTurn(context.rounds, {
      ours: () => tools.ours.full(),
      pgbackrest: () => tools.pgbackrest.full(),
    });
    const fullStored = { ours: factsOf(full.ours).stored ?? 0, pgbackrest: await tools.pgbackrest.stored() };
    const increments = { ours: [] as Increment[], pgbackrest: [] as Increment[] };
    for (let link = 1; link <= links; link++) {
      pgbench('-n', '-c', '2', '-j', '2', '-t', String(transactions / 2));
      for (const name of names) {
        const cost = await tools[name].incremental();
        const stored = name === 'ours' ? (factsOf(cost).stored ?? 0) : await tools.pgbackrest.stored();
        increments[name].push({ cost, stored });
        process.stderr.write(`  ${name}, link ${link}: ${cost.wallS.toFixed(1)} s, ${mib(stored)} MiB\n`);
      }
    }
    const restores = await inTurn(context.rounds, {
      'ours full': () => tools.ours.restore('first'),
      'ours chain': () => tools.ours.restore('last'),
      'pgbackrest full': () => tools.pgbackrest.restore('first'),
      'pgbackrest chain': () => tools.pgbackrest.restore('last'),
    });
    return report({ bytes, transactions, full, fullStored, increments, restores });
  } finally {
    await server.destroy();
    await rm(dir, { recursive: true, force: true });
  }
}

interface Increment {
  cost: Cost;
  stored: number;
}

interface Runs {
  full(): Promise<Cost>;
  incremental(): Promise<Cost>;
  restore(which: 'first' | 'last'): Promise<Cost>;
}

async function ourRuns(context: BenchContext, dir: string, server: PostgresInstance): Promise<Runs> {
  const argv = await engineCommand(context, {
    source: {
      name: 'bench',
      kind: 'postgres-physical',
      connection: { host: '127.0.0.1', port: server.port, user: 'postgres' },
    },
    staging: path.join(dir, 'staging'),
    store: { directory: path.join(dir, 'store') },
  });
  const argvOf = (...args: string[]) => [...argv, ...args];
  const run = (...args: string[]) => measure({ argv: argvOf(...args), env: nodeEnvironment });
  let serial = 0;
  let first = '';
  const nextInto = freshFolders(path.join(dir, 'restored', 'ours'));
  return {
    full() {
      first = `point-${++serial}`;
      return run('backup', first);
    },
    incremental: () => run('backup', `point-${serial + 1}`, `point-${serial++}`),
    async restore(which) {
      const into = nextInto();
      return untilReady(argvOf('restore', which === 'first' ? first : `point-${serial}`, into), server, into);
    },
  };
}

/** Run as the server's user, for the server itself writes into the repository, too. */
async function theirRuns(
  bytesIn: BenchContext['bytesIn'],
  dir: string,
  conf: string,
  server: PostgresInstance,
): Promise<Runs & { prepare(): Promise<void>; stored(): Promise<number> }> {
  const user = await unprivilegedUser();
  const as = user ? ['setpriv', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups'] : [];
  const argvOf = (...args: string[]) => [...as, 'pgbackrest', `--config=${conf}`, '--stanza=bench', ...args];
  const run = (...args: string[]) => measure({ argv: argvOf(...args), env: { PGHOST: server.host }, cwd: '/' });
  const backups = path.join(dir, 'repo', 'backup', 'bench');
  const labels = async () => (await readdir(backups)).filter((name) => /^\d{8}-\d{6}F/.test(name)).sort();
  /** What every incremental one is built upon. */
  let first = '';
  const nextInto = freshFolders(path.join(dir, 'restored', 'pgbackrest'));
  return {
    prepare: async () => void (await run('stanza-create')),
    async full() {
      const cost = await run('backup', '--type=full');
      first = (await labels()).at(-1) ?? '';
      return cost;
    },
    incremental: () => run('backup', '--type=incr'),
    async restore(which) {
      const into = nextInto();
      mkdirSync(into, { recursive: true, mode: 0o700 });
      if (user) chownSync(into, user.uid, user.gid);
      const set = which === 'first' ? first : ((await labels()).at(-1) ?? '');
      const target = ['--type=immediate', '--target-action=promote'];
      return untilReady(argvOf('restore', `--pg1-path=${into}`, `--set=${set}`, ...target), server, into);
    },
    /** Of the newest, without the WAL that its archive has as well. */
    stored: async () => bytesIn(path.join(backups, (await labels()).at(-1) ?? '')),
  };
}

function configuration(dir: string, server: PostgresInstance): string {
  return `[global]
repo1-path=${dir}/repo
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=of-a-benchmark
repo1-retention-full=20
lock-path=${dir}/lock
log-path=${dir}/log
spool-path=${dir}/spool
compress-type=zst
compress-level=3
process-max=2
start-fast=y
log-level-console=warn
log-level-file=off

[bench]
pg1-path=${server.dataDir}
pg1-port=${server.port}
pg1-user=postgres
`;
}

async function databaseBytes(server: PostgresInstance): Promise<number> {
  const client = new pg.Client({ connectionString: server.uri() });
  await client.connect();
  try {
    const { rows } = await client.query('SELECT sum(pg_database_size(oid))::text AS bytes FROM pg_database');
    return Number(rows[0].bytes);
  } finally {
    await client.end();
  }
}

interface Measured {
  bytes: number;
  transactions: number;
  full: Record<Tool, Cost>;
  fullStored: Record<Tool, number>;
  increments: Record<Tool, Increment[]>;
  restores: Record<`${Tool} ${'full' | 'chain'}`, Cost>;
}

function report({ bytes, transactions, full, fullStored, increments, restores }: Measured): string {
  const wall = (tool: Tool) => median(increments[tool].map(({ cost }) => cost.wallS));
  const stored = (tool: Tool) => median(increments[tool].map((i) => i.stored));
  const largest = (tool: Tool) =>
    Math.max(full[tool].rssMiB, ...increments[tool].map(({ cost }) => cost.rssMiB), restores[`${tool} chain`].rssMiB);
  const rows = names.map((tool) => [
    tool === 'ours' ? 'this project' : 'pgBackRest, process-max=2',
    full[tool].wallS.toFixed(1),
    mib(fullStored[tool]),
    wall(tool).toFixed(1),
    mib(stored(tool)),
    restores[`${tool} full`].wallS.toFixed(1),
    restores[`${tool} chain`].wallS.toFixed(1),
    largest(tool),
  ]);
  const chain = ratio(restores['ours chain'].wallS, restores['ours full'].wallS);
  const delays = [full.ours, ...increments.ours.map(({ cost }) => cost)].map(
    (cost) => factsOf(cost).loopDelayMaxMs ?? 0,
  );
  return [
    `## PostgreSQL, physical: a cluster of ${mib(bytes)} MiB under pgbench, into a folder`,
    '',
    table(
      [
        '',
        'full: wall s',
        'MiB',
        'incremental: wall s',
        'MiB',
        'restore of the full until the server is ready: s',
        'of the tenth link: s',
        'largest process MiB',
      ],
      [
        ...rows,
        [
          'ratio',
          ratio(full.ours.wallS, full.pgbackrest.wallS),
          ratio(fullStored.ours, fullStored.pgbackrest),
          ratio(wall('ours'), wall('pgbackrest')),
          ratio(stored('ours'), stored('pgbackrest')),
          ratio(restores['ours full'].wallS, restores['pgbackrest full'].wallS),
          ratio(restores['ours chain'].wallS, restores['pgbackrest chain'].wallS),
          ratio(largest('ours'), largest('pgbackrest')),
        ],
      ],
    ),
    '',
    `An incremental backup follows ${transactions.toLocaleString('en-US')} transactions of pgbench's; ten of them, medians. Both compress by zstd -3 and ` +
      "encrypt by AES-256. This project's include the WAL that makes them consistent, pgBackRest's leave it to its archive, which is not counted. " +
      `A restore ends when a server on it takes writes, WAL replayed as far as it is consistent: this project's comes with its WAL, pgBackRest's fetches it from its archive. Restoring the tenth link takes ${chain} × what restoring the full one takes. The longest block of the event loop was ${Math.max(...delays)} ms.`,
    '',
  ].join('\n');
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
