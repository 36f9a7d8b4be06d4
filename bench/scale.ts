import { randomFillSync } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { type BenchContext, costCells, costHead, factsOf, mib, table } from './context.ts';
import { engineOn, stagingOf } from './engine.ts';
import type { Cost } from './measure.ts';
import { changeTree, makeTree } from './tree.ts';

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
    const engine = await engineOn(context, { name: 'tree', kind: 'files', path: folder });
    rows.push(rowOf(`${count} files, full`, await engine.backup()));
    changeTree(folder, count, 1);
    rows.push(rowOf(`incremental, after 1 % of them changed`, await engine.incremental()));
    await clear(context, folder);
  }
  for (const share of [0.1, 1]) {
    const folder = path.join(context.dir, 'large');
    const bytes = Math.round(gigabytes * share) * 1024 * MiB;
    makeSparse(folder, bytes);
    const engine = await engineOn(context, { name: 'large', kind: 'files', path: folder });
    rows.push(rowOf(`one file of ${mib(bytes)} MiB, full`, await engine.backup()));
    await clear(context, folder);
  }
  return [
    '## Scale: a tenth of it, and all of it, into an S3 server (one run each)',
    '',
    table(['', ...costHead, 'source MiB', 'stored MiB', 'longest block of the event loop, ms'], rows),
  ].join('\n');
}

function rowOf(what: string, cost: Cost): (string | number)[] {
  process.stderr.write(`  ${what}: ${cost.wallS.toFixed(1)} s, ${cost.rssMiB} MiB\n`);
  const { sourceBytes = 0, stored = 0, loopDelayMaxMs = 0 } = factsOf(cost);
  return [what, ...costCells(cost), mib(sourceBytes), mib(stored), loopDelayMaxMs];
}

async function clear(context: BenchContext, folder: string): Promise<void> {
  for (const dir of [folder, stagingOf(context)]) await rm(dir, { recursive: true, force: true });
  await context.freshBucket('ours');
}

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
