import { randomFillSync } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { nodeFlags } from '../workers/heap.ts';
import { type BenchContext, costCells, factsOf, mib, table } from './context.ts';
import { type Cost, measure } from './measure.ts';
import { makeTree } from './tree.ts';

const ours = new URL('./ours.ts', import.meta.url).pathname;
const MiB = 2 ** 20;

/** What grows and what does not: very many files, and one very large file, half of it holes, the rest noise. */
export async function benchScale(
  context: BenchContext,
  { files, gigabytes }: { files: number; gigabytes: number },
): Promise<string> {
  const rows: (string | number)[][] = [];
  for (const share of [0.1, 1]) {
    const count = Math.round(files * share);
    const folder = path.join(context.dir, `many-${count}`);
    makeTree(folder, count, count * 1_000);
    const cost = await backUp(context, folder);
    rows.push([`${count} files`, ...costCells(cost), mib(factsOf(cost).sourceBytes ?? 0), loopOf(cost)]);
    await rm(folder, { recursive: true, force: true });
  }
  for (const share of [0.1, 1]) {
    const folder = path.join(context.dir, 'large');
    const bytes = Math.round(gigabytes * share) * 1024 * MiB;
    makeSparse(folder, bytes);
    const cost = await backUp(context, folder);
    rows.push([`one file of ${mib(bytes)} MiB`, ...costCells(cost), mib(factsOf(cost).sourceBytes ?? 0), loopOf(cost)]);
    await rm(folder, { recursive: true, force: true });
  }
  return [
    '## Scale: a tenth of it, and all of it, full, into an S3 server (one run each)',
    '',
    table(
      [
        '',
        'wall s',
        'CPU s',
        'largest process MiB',
        'GETs',
        'PUTs',
        'source MiB',
        'longest block of the event loop, ms',
      ],
      rows,
    ),
  ].join('\n');
}

async function backUp(context: BenchContext, folder: string): Promise<Cost> {
  const config = path.join(context.dir, 'scale.json');
  const { endpoint, accessKeyId, secretAccessKey } = context.s3;
  const staging = path.join(context.dir, 'staging');
  await writeFile(
    config,
    JSON.stringify({
      source: { name: 'tree', kind: 'files', path: folder },
      staging,
      s3: { endpoint, accessKeyId, secretAccessKey, bucket: 'ours' },
      recipient: context.recipient,
      identity: context.identity,
    }),
    { mode: 0o600 },
  );
  await context.freshBucket('ours');
  try {
    const cost = await context.counted(() =>
      measure({ argv: [process.execPath, ...nodeFlags, ours, 'backup', config] }),
    );
    process.stderr.write(`  ${path.basename(folder)} ${cost.wallS.toFixed(1)} s, ${cost.rssMiB} MiB\n`);
    return cost;
  } finally {
    await rm(staging, { recursive: true, force: true });
    await context.freshBucket('ours');
  }
}

const loopOf = (cost: Cost) => factsOf(cost).loopDelayMaxMs ?? 0;

/** Every second 4 MiB is a hole; the others are noise that nothing compresses. */
function makeSparse(folder: string, bytes: number): void {
  mkdirSync(folder, { recursive: true });
  const fd = openSync(path.join(folder, 'large.img'), 'w');
  const noise = Buffer.alloc(4 * MiB);
  for (let at = 0; at < bytes; at += 8 * MiB) {
    randomFillSync(noise);
    writeSync(fd, noise, 0, noise.length, at);
  }
  ftruncateSync(fd, bytes);
  closeSync(fd);
}
