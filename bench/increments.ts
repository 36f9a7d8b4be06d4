import { rm } from 'node:fs/promises';
import path from 'node:path';
import { type BenchContext, costCells, costHead, factsOf, mib, ratio, table } from './context.ts';
import { engineOn, stagingOf } from './engine.ts';
import type { Cost } from './measure.ts';
import { borgIn, resticIn } from './others.ts';
import { addLargeFiles, changeLargeFiles, changeTree, makeTree } from './tree.ts';

const tools = ['ours', 'restic', 'borg'] as const;
type Tool = (typeof tools)[number];

interface Run {
  cost: Cost;
  /** Bytes that the repository, or the bucket, took up more afterwards. */
  growth: number;
}

/** A tree with eight large files, full; then, as often as there are rounds, what a day changes, and an incremental. */
export async function benchIncrements(context: BenchContext, size: { files: number; bytes: number }): Promise<string> {
  const tree = path.join(context.dir, 'changing');
  makeTree(tree, size.files, size.bytes);
  addLargeFiles(tree);
  const engine = await engineOn(context, { name: 'changing', kind: 'files', path: tree });
  const restic = resticIn(context);
  const borg = borgIn(context);
  const backups: Record<Tool, { full(): Promise<Cost>; next(): Promise<Cost>; bytes(): Promise<number> }> = {
    ours: { full: engine.backup, next: engine.incremental, bytes: () => context.storedIn('ours') },
    restic: { full: () => restic.make().then(() => restic.backup(tree)), next: () => restic.backup(tree), ...restic },
    borg: { full: () => borg.make().then(() => borg.backup(tree)), next: () => borg.backup(tree), ...borg },
  };
  const fulls = {} as Record<Tool, Cost>;
  for (const tool of tools) fulls[tool] = await backups[tool].full();
  const runs: Record<Tool, Run[]> = { ours: [], restic: [], borg: [] };
  for (let round = 1; round <= context.rounds; round++) {
    changeTree(tree, size.files, round);
    changeLargeFiles(tree, round);
    for (const tool of tools) {
      const before = await backups[tool].bytes();
      const cost = await backups[tool].next();
      const growth = (await backups[tool].bytes()) - before;
      runs[tool].push({ cost, growth });
      process.stderr.write(`  ${tool}, day ${round}: ${cost.wallS.toFixed(1)} s, ${mib(growth)} MiB\n`);
    }
  }
  await rm(tree, { recursive: true, force: true });
  await rm(stagingOf(context), { recursive: true, force: true });
  const middle = Object.fromEntries(tools.map((tool) => [tool, byMedianWall(runs[tool])])) as Record<Tool, Run>;
  const labels = { ours: 'this project', restic: 'restic', borg: 'borg, into a folder' };
  return [
    `## Files: incremental of ${size.files + 8} files after a day's changes, into an S3 server`,
    '',
    table(
      ['', ...costHead, 'growth MiB', 'our wall / its', 'our growth / its', 'full: s'],
      tools.map((tool) => [
        labels[tool],
        ...costCells(middle[tool].cost),
        mib(middle[tool].growth),
        ratio(middle.ours.cost.wallS, middle[tool].cost.wallS),
        ratio(middle.ours.growth, middle[tool].growth),
        fulls[tool].wallS.toFixed(1),
      ]),
    ),
    '',
    'Of a hundred files one is altered, removed or new, and of eight files of 64 MiB that nothing compresses 512 KiB are overwritten in each. ' +
      `This project read ${mib(factsOf(middle.ours.cost).rchar ?? 0)} MiB for it by read calls.`,
    '',
  ].join('\n');
}

function byMedianWall(runs: Run[]): Run {
  const sorted = runs.toSorted((a, b) => a.cost.wallS - b.cost.wallS);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (!middle) throw new RangeError('nothing was measured');
  return middle;
}
