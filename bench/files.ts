import { rm } from 'node:fs/promises';
import path from 'node:path';
import { findTool } from '../scripts/stack/find.ts';
import {
  type BenchContext,
  costCells,
  costHead,
  factsOf,
  freshFolders,
  mib,
  phasesText,
  ratio,
  table,
} from './context.ts';
import { engineOn } from './engine.ts';
import { inTurn, measure } from './measure.ts';
import { borgIn, resticIn } from './others.ts';
import { makeTree } from './tree.ts';

const put = new URL('./put-stream.ts', import.meta.url).pathname;

/**
 * A tree of many files, full, into S3 and back: this project, restic, and the plain pipeline; borg, which knows no S3,
 * into a folder; tar with zstd for the size.
 */
export async function benchFiles(context: BenchContext, size: { files: number; bytes: number }): Promise<string> {
  const { dir, s3 } = context;
  const tree = path.join(dir, 'tree');
  process.stderr.write(`making ${size.files} files, ${mib(size.bytes)} MiB\n`);
  makeTree(tree, size.files, size.bytes);
  const nextInto = freshFolders(path.join(dir, 'restored'));
  const engine = await engineOn(context, { name: 'tree', kind: 'files', path: tree });
  const { endpoint, accessKeyId, secretAccessKey } = s3;
  const restic = resticIn(context);
  const borg = borgIn(context);
  const age = await findTool('age');
  const pipeline = `tar -C "$1" -cf - . | zstd -3 -T0 -q | "$2" -r "$3" | "$4" "$5"`;
  const backups = await inTurn(context.rounds, {
    ours: () => engine.backup(),
    restic: async () => {
      await restic.make();
      return restic.backup(tree);
    },
    borg: async () => {
      await borg.make();
      return borg.backup(tree);
    },
    pipeline: async () => {
      await context.freshBucket('pipeline');
      const argv = ['bash', '-o', 'pipefail', '-c', pipeline, 'bash', tree, age, context.recipient];
      return context.counted(() =>
        measure({
          argv: [...argv, process.execPath, put],
          env: { BENCH_S3: JSON.stringify({ endpoint, accessKeyId, secretAccessKey, bucket: 'pipeline' }) },
        }),
      );
    },
    tar: () => measure({ argv: ['bash', '-c', `tar -C "$1" -cf - . | zstd -3 -q | wc -c`, 'bash', tree] }),
  });
  const stored = {
    ours: factsOf(backups.ours).stored ?? 0,
    restic: await restic.bytes(),
    borg: await borg.bytes(),
    pipeline: await context.storedIn('pipeline'),
    tar: Number(backups.tar.output.trim()),
  };
  const restores = await inTurn(context.rounds, {
    ours: () => engine.restore(nextInto()),
    restic: () => restic.restore(nextInto()),
    borg: () => borg.restore(nextInto()),
  });
  await rm(tree, { recursive: true, force: true });
  const facts = factsOf(backups.ours);
  const labels = {
    ours: 'this project',
    restic: 'restic',
    borg: 'borg, into a folder',
    pipeline: '`tar \\| zstd -3 -T0 \\| age \\| S3 multipart`',
    tar: '`tar \\| zstd -3` (size only)',
  };
  const backupRows = (Object.keys(labels) as (keyof typeof labels)[]).map((tool) => [
    `backup, ${labels[tool]}`,
    ...costCells(backups[tool]),
    mib(stored[tool]),
    ratio(backups.ours.wallS, backups[tool].wallS),
    ratio(stored.ours, stored[tool]),
  ]);
  const restoreRows = (['ours', 'restic', 'borg'] as const).map((tool) => [
    `restore, ${labels[tool]}`,
    ...costCells(restores[tool]),
    '',
    ratio(restores.ours.wallS, restores[tool].wallS),
    '',
  ]);
  return [
    `## Files: ${size.files} files, ${mib(facts.sourceBytes ?? 0)} MiB, full, into an S3 server and back`,
    '',
    table(['', ...costHead, 'stored MiB', 'our wall / its', 'our stored / its'], [...backupRows, ...restoreRows]),
    '',
    `Of this project's backup: ${phasesText(facts)} The longest block of the event loop was ${facts.loopDelayMaxMs} ms while backing up and ${factsOf(restores.ours).loopDelayMaxMs} ms while restoring. ` +
      `By read calls it read ${ratio(facts.rchar ?? 0, (facts.sourceBytes ?? 1) + stored.ours)} × (the source + the sealed bytes, which are read once more for the upload).`,
    '',
  ].join('\n');
}
