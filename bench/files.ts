import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { nodeFlags } from '../workers/heap.ts';
import { type BenchContext, factsOf, mib, ratio, table } from './context.ts';
import { inTurn, measure } from './measure.ts';
import { makeTree } from './tree.ts';

const ours = new URL('./ours.ts', import.meta.url).pathname;

/** A tree of many files, full, into S3 and back: this project, restic, and tar with zstd for the size. */
export async function benchFiles(context: BenchContext, size: { files: number; bytes: number }): Promise<string> {
  const { dir, s3 } = context;
  const tree = path.join(dir, 'tree');
  process.stderr.write(`making ${size.files} files, ${mib(size.bytes)} MiB\n`);
  makeTree(tree, size.files, size.bytes);
  // Each restore gets a folder of its own, and none is removed before the end: ext4 makes files slowly for minutes after
  // many were removed (it avoids inodes that were freed recently), which would be measured instead.
  let restoresSoFar = 0;
  const nextInto = () => path.join(dir, `restored-${restoresSoFar++}`);
  const config = path.join(dir, 'files.json');
  const { endpoint, accessKeyId, secretAccessKey } = s3;
  await writeFile(
    config,
    JSON.stringify({
      source: { name: 'tree', kind: 'files', path: tree },
      staging: path.join(dir, 'staging'),
      s3: { endpoint, accessKeyId, secretAccessKey, bucket: 'ours' },
      recipient: context.recipient,
      identity: context.identity,
    }),
    { mode: 0o600 },
  );
  const restic = {
    RESTIC_REPOSITORY: `s3:${endpoint}/restic`,
    RESTIC_PASSWORD: 'bench',
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    RESTIC_CACHE_DIR: path.join(dir, 'restic-cache'),
  };
  const backups = await inTurn(context.rounds, {
    ours: async () => {
      await context.freshBucket('ours');
      return measure({ argv: [process.execPath, ...nodeFlags, ours, 'backup', config] });
    },
    restic: async () => {
      await context.freshBucket('restic');
      await rm(restic.RESTIC_CACHE_DIR, { recursive: true, force: true });
      await measure({ argv: ['restic', 'init', '--repository-version', '2', '-q'], env: restic });
      return measure({ argv: ['restic', 'backup', '-q', tree], env: restic });
    },
    tar: () => measure({ argv: ['bash', '-c', `tar -C "$1" -cf - . | zstd -3 -q | wc -c`, 'bash', tree] }),
  });
  const stored = {
    ours: factsOf(backups.ours).stored ?? 0,
    restic: await context.storedIn('restic'),
    tar: Number(backups.tar.output.trim()),
  };
  const restores = await inTurn(context.rounds, {
    ours: () => measure({ argv: [process.execPath, ...nodeFlags, ours, 'restore', config, nextInto()] }),
    restic: () => measure({ argv: ['restic', 'restore', 'latest', '-q', '--target', nextInto()], env: restic }),
  });
  await rm(tree, { recursive: true, force: true });
  const facts = factsOf(backups.ours);
  return [
    `## Files: ${size.files} files, ${mib(facts.sourceBytes ?? 0)} MiB, full, into an S3 server and back`,
    '',
    table(
      ['', 'wall s', 'CPU s', 'largest process MiB', 'stored MiB', 'wall / restic', 'stored / tar+zstd -3'],
      [
        [
          'backup, this project',
          backups.ours.wallS.toFixed(1),
          backups.ours.cpuS.toFixed(1),
          backups.ours.rssMiB,
          mib(stored.ours),
          ratio(backups.ours.wallS, backups.restic.wallS),
          ratio(stored.ours, stored.tar),
        ],
        [
          'backup, restic',
          backups.restic.wallS.toFixed(1),
          backups.restic.cpuS.toFixed(1),
          backups.restic.rssMiB,
          mib(stored.restic),
          '1',
          ratio(stored.restic, stored.tar),
        ],
        [
          '`tar \\| zstd -3` (size only)',
          backups.tar.wallS.toFixed(1),
          backups.tar.cpuS.toFixed(1),
          backups.tar.rssMiB,
          mib(stored.tar),
          ratio(backups.tar.wallS, backups.restic.wallS),
          '1',
        ],
        [
          'restore, this project',
          restores.ours.wallS.toFixed(1),
          restores.ours.cpuS.toFixed(1),
          restores.ours.rssMiB,
          '',
          ratio(restores.ours.wallS, restores.restic.wallS),
          '',
        ],
        [
          'restore, restic',
          restores.restic.wallS.toFixed(1),
          restores.restic.cpuS.toFixed(1),
          restores.restic.rssMiB,
          '',
          '1',
          '',
        ],
      ],
    ),
    '',
    `Of this project's backup, sealing took ${((facts.sealedMs ?? 0) / 1000).toFixed(1)} s, in which the artifact was sent as it grew, and what was left to send ${((facts.uploadedMs ?? 0) / 1000).toFixed(1)} s; ` +
      `the longest block of the event loop was ${facts.loopDelayMaxMs} ms while backing up and ${factsOf(restores.ours).loopDelayMaxMs} ms while restoring. ` +
      `By read calls it read ${ratio(facts.rchar ?? 0, (facts.sourceBytes ?? 1) + stored.ours)} × (the source + the sealed bytes, which are read once more for the upload).`,
    '',
  ].join('\n');
}
