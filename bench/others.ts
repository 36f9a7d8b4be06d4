import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { BenchContext } from './context.ts';
import { type Cost, measure } from './measure.ts';

/** Another tool that keeps a tree's history in a repository. */
export interface Repository {
  /** Makes it anew and empty. */
  make(): Promise<void>;
  /** Puts the tree into it as it is now; only what it does not hold yet takes up space. */
  backup(tree: string): Promise<Cost>;
  /** The last backup. */
  restore(into: string): Promise<Cost>;
  bytes(): Promise<number>;
}

/** Into S3. */
export function resticIn(context: BenchContext): Repository {
  const { endpoint, accessKeyId, secretAccessKey } = context.s3;
  const cache = path.join(context.dir, 'restic-cache');
  const env = {
    RESTIC_REPOSITORY: `s3:${endpoint}/restic`,
    RESTIC_PASSWORD: 'bench',
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    RESTIC_CACHE_DIR: cache,
  };
  return {
    async make() {
      await context.freshBucket('restic');
      await rm(cache, { recursive: true, force: true });
      await measure({ argv: ['restic', 'init', '--repository-version', '2', '-q'], env });
    },
    backup: (tree) => context.counted(() => measure({ argv: ['restic', 'backup', '-q', tree], env })),
    restore: (into) =>
      context.counted(() => measure({ argv: ['restic', 'restore', 'latest', '-q', '--target', into], env })),
    bytes: () => context.storedIn('restic'),
  };
}

/** Into a folder, for it knows no S3. */
export function borgIn(context: BenchContext): Repository {
  const folder = path.join(context.dir, 'borg');
  const base = path.join(context.dir, 'borg-base');
  const env = { BORG_REPO: folder, BORG_PASSPHRASE: 'bench', BORG_BASE_DIR: base };
  let last = 0;
  return {
    async make() {
      for (const dir of [folder, base]) await rm(dir, { recursive: true, force: true });
      await measure({ argv: ['borg', 'init', '-e', 'repokey'], env });
    },
    backup: (tree) => measure({ argv: ['borg', 'create', '-C', 'zstd,3', `::${++last}`, '.'], env, cwd: tree }),
    async restore(into) {
      await measure({ argv: ['mkdir', into] });
      return measure({ argv: ['borg', 'extract', `::${last}`], env, cwd: into });
    },
    bytes: () => context.bytesIn(folder),
  };
}
