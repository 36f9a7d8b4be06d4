import { randomFillSync } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { type BenchContext, costCells, factsOf, mib, table } from './context.ts';
import { engineOn, stagingOf } from './engine.ts';
import type { Cost } from './measure.ts';
import { makeTree } from './tree.ts';

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
  const engine = await engineOn(context, { name: 'tree', kind: 'files', path: folder });
  try {
    const cost = await engine.backup();
    process.stderr.write(`  ${path.basename(folder)} ${cost.wallS.toFixed(1)} s, ${cost.rssMiB} MiB\n`);
    return cost;
  } finally {
    await rm(stagingOf(context), { recursive: true, force: true });
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
