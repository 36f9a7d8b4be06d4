import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { generateIdentity, recipientOf } from '../engine/artifact/index.ts';
import { ensureBucket, startS3 } from '../scripts/stack/s3.ts';
import { benchDatabase } from './database.ts';
import { benchFiles } from './files.ts';

/**
 * `npm run bench`: this project beside other tools on the same data, in one run, each several times in turn; the median
 * counts. Writes docs/benchmarks.md.
 */
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    files: { type: 'string', default: '60000' },
    'tree-mb': { type: 'string', default: '2500' },
    'database-scale': { type: 'string', default: '80' },
    only: { type: 'string' },
    dir: { type: 'string' },
  },
});

const dir = await mkdtemp(path.join(values.dir ?? tmpdir(), 'bench-'));
const identity = await generateIdentity();
const s3 = await startS3({ dir: path.join(dir, 's3'), region: 'us-east-1' });
try {
  const context = {
    dir,
    rounds: Number(values.rounds),
    identity,
    recipient: await recipientOf(identity),
    s3,
    /** An empty bucket, so that no run finds what another left. */
    freshBucket: async (name: string) => {
      await rm(path.join(dir, 's3', name), { recursive: true, force: true });
      await ensureBucket(s3, name);
      return name;
    },
    storedIn: (bucket: string) => folderBytes(path.join(dir, 's3', bucket)),
  };
  const sections: string[] = [];
  if (values.only !== 'database') {
    sections.push(
      await benchFiles(context, { files: Number(values.files), bytes: Number(values['tree-mb']) * 1_000_000 }),
    );
  }
  if (values.only !== 'files') sections.push(await benchDatabase(context, { scale: Number(values['database-scale']) }));
  const page = [
    '# Benchmarks',
    '',
    `Written by \`npm run bench\` on ${new Date().toISOString().slice(0, 10)}: ${availableParallelism()} cores (${cpus()[0]?.model.trim()}), ` +
      `${Math.round(totalmem() / 2 ** 30)} GiB of memory. Median of ${values.rounds} runs in turn; CPU and memory are of whole processes. ` +
      'Machines differ and are noisy: the ratios are what to read.',
    '',
    ...sections,
  ].join('\n');
  await mkdir(new URL('../docs', import.meta.url), { recursive: true });
  await writeFile(new URL('../docs/benchmarks.md', import.meta.url), page);
  process.stdout.write(`${page}\n`);
} finally {
  await s3.stop();
  await rm(dir, { recursive: true, force: true });
}

async function folderBytes(folder: string): Promise<number> {
  let total = 0;
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) total += (await stat(path.join(entry.parentPath, entry.name))).size;
  }
  return total;
}
