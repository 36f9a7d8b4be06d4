import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { generateIdentity, recipientOf } from '../engine/artifact/index.ts';
import { findTool } from '../scripts/stack/find.ts';
import { ensureBucket, startS3 } from '../scripts/stack/s3.ts';
import { benchCompression } from './compression.ts';
import type { BenchContext } from './context.ts';
import { benchDatabase } from './database.ts';
import { benchFiles } from './files.ts';
import { benchIncrements } from './increments.ts';
import type { Cost } from './measure.ts';
import { replaceSections } from './page.ts';
import { benchPhysical } from './physical.ts';
import { benchScale } from './scale.ts';
import { benchTemporal } from './temporal.ts';
import { benchWal } from './wal.ts';

/**
 * `npm run bench [-- --only NAME,…]`: this project beside other tools on the same data, in one run, each several times in
 * turn; the median counts. Writes the sections that were measured into docs/benchmarks.md.
 */
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    files: { type: 'string', default: '60000' },
    'tree-mb': { type: 'string', default: '2500' },
    'database-scale': { type: 'string', default: '160' },
    'pgbench-scale': { type: 'string', default: '50' },
    'pgbench-transactions': { type: 'string', default: '10000' },
    'scale-files': { type: 'string', default: '1000000' },
    'scale-gb': { type: 'string', default: '20' },
    'wal-seconds': { type: 'string', default: '180' },
    only: { type: 'string' },
    dir: { type: 'string' },
  },
});
const tree = { files: Number(values.files), bytes: Number(values['tree-mb']) * 1_000_000 };

const benches: Record<string, (context: BenchContext) => Promise<string>> = {
  files: (context) => benchFiles(context, tree),
  increments: (context) => benchIncrements(context, tree),
  database: (context) => benchDatabase(context, { scale: Number(values['database-scale']) }),
  physical: (context) =>
    benchPhysical(context, {
      scale: Number(values['pgbench-scale']),
      transactions: Number(values['pgbench-transactions']),
    }),
  temporal: (context) => benchTemporal(context, tree),
  scale: (context) =>
    benchScale(context, { files: Number(values['scale-files']), gigabytes: Number(values['scale-gb']) }),
  compression: (context) => benchCompression(context),
  wal: (context) => benchWal(context, { seconds: Number(values['wal-seconds']) }),
};
/** What each of them runs by its name, found before anything is measured; `time` takes the measure. */
const tools: Record<string, string[]> = {
  files: ['restic', 'borg', 'zstd', 'tar'],
  increments: ['restic', 'borg'],
  database: ['zstd'],
  physical: ['pgbackrest'],
};
const wanted = values.only?.split(',') ?? Object.keys(benches);
const unknown = wanted.filter((name) => !(name in benches));
if (unknown.length > 0) throw new RangeError(`--only takes ${Object.keys(benches).join(', ')}, not ${unknown}`);
for (const tool of new Set(['time', ...wanted.flatMap((name) => tools[name] ?? [])])) await findTool(tool);

const dir = await mkdtemp(path.join(values.dir ?? tmpdir(), 'bench-'));
const identity = await generateIdentity();
const accessLog = path.join(dir, 's3.access.log');
const s3 = await startS3({ dir: path.join(dir, 's3'), region: 'us-east-1', accessLog });
const page = new URL('../docs/benchmarks.md', import.meta.url);
try {
  const context: BenchContext = {
    dir,
    rounds: Number(values.rounds),
    identity,
    recipient: await recipientOf(identity),
    s3,
    freshBucket: async (name) => {
      await rm(path.join(dir, 's3', name), { recursive: true, force: true });
      await ensureBucket(s3, name);
      return name;
    },
    storedIn: (bucket) => folderBytes(path.join(dir, 's3', bucket)),
    bytesIn: folderBytes,
    counted: async (run): Promise<Cost> => {
      const before = await requestsServed();
      const cost = await run();
      const after = await requestsServed();
      return { ...cost, requests: { gets: after.gets - before.gets, puts: after.puts - before.puts } };
    },
  };
  for (const name of wanted) {
    const section = await benches[name]?.(context);
    const how =
      `Measured on ${new Date().toISOString().slice(0, 10)} by \`npm run bench -- --only ${name} --rounds ${values.rounds}\`: ` +
      `${availableParallelism()} cores (${cpus()[0]?.model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB of memory.`;
    const text = `${section?.trim()}\n\n${how}\n`;
    process.stdout.write(`${text}\n`);
    await writeFile(page, replaceSections(await readFile(page, 'utf8').catch(() => ''), { [name]: text }));
  }
} finally {
  await s3.stop();
  await rm(dir, { recursive: true, force: true });
}

/** What the S3 server has answered so far, by its own log, which it writes a moment later. */
async function requestsServed(): Promise<{ gets: number; puts: number }> {
  await setTimeout(1_000);
  const lines = (await readFile(accessLog, 'utf8').catch(() => '')).split('\n');
  const served = (operations: RegExp) => lines.filter((line) => operations.test(line)).length;
  return { gets: served(/ s3_GetObject /), puts: served(/ s3_(PutObject|UploadPart) /) };
}

async function folderBytes(folder: string): Promise<number> {
  let total = 0;
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) total += (await stat(path.join(entry.parentPath, entry.name))).size;
  }
  return total;
}
