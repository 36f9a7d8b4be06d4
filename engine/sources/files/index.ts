import path from 'node:path';
import { Failure, isFailure } from '../../../policies/failure.ts';
import type { FilesSource } from '../../../policies/policy.ts';
import { formatBytes } from '../../../policies/progress.ts';
import type { Check } from '../../../policies/recovery-point.ts';
import type { PointReader } from '../../artifact/index.ts';
import { checkFromDamage, failedCheck, passedCheck } from '../checks.ts';
import type { Source, TestRestoreOptions } from '../source.ts';
import { type Comparison, compareTree } from './compare.ts';
import { removeTree } from './remove.ts';
import { restoreTree } from './restore.ts';
import { sealTree } from './seal.ts';
import { openWalker } from './walker.ts';

/** So long a tree has to show its root. */
const probeMaxMs = 30_000;

/**
 * A file tree. Globs (`include`, `exclude`, and `paths` of a restore) are picomatch's, relative to the root; one that
 * matches a folder covers all below it, exclude wins over include, and the folders above a match are kept.
 */
export function createFilesSource(policy: FilesSource): Source {
  return {
    name: policy.name,
    kind: 'files',
    format: 'pax-tar',

    async probe() {
      // The first entry is the root: it is there, a folder, and can be listed.
      const options = { root: policy.path, warn: () => {} };
      const walker = openWalker(options, new AbortController().signal, { silentMaxMs: probeMaxMs });
      try {
        const found = walker.found();
        await found.next();
        await found.next();
      } finally {
        walker.close();
      }
      return { estimatedBytes: 0, facts: { path: policy.path } };
    },

    seal: (writer, options) => sealTree(policy, writer, options),

    // What has a job waits for the disk at its end.
    restore: (point, options) => restoreTree(point, options, { writeBehind: options.job !== undefined }),

    async compare(point, place, signal) {
      const compared = await compareTree(point, place, signal);
      return { differences: compared.examples, details: sizeOf(compared) };
    },

    testRestore,
  };
}

async function testRestore(point: PointReader, { workDir, signal, onProgress }: TestRestoreOptions): Promise<Check[]> {
  const into = path.join(workDir, 'tree');
  const from = performance.now();
  try {
    const restored = await restoreTree(point, { into, signal, onProgress });
    const took = performance.now() - from;
    const restoredSize = `${sizeOf(restored)}, restored in ${(took / 1000).toFixed(1)} s into a folder of its own`;
    const restore = passedCheck('restore_test', took, restoredSize);
    const compareFrom = performance.now();
    const compared = await compareTree(point, into, signal);
    const compareTook = performance.now() - compareFrom;
    if (compared.differences > 0) {
      const error = `${count(compared.differences)} differences: ${compared.examples.join('; ')}`;
      return [restore, failedCheck('content', compareTook, error)];
    }
    return [
      restore,
      passedCheck('content', compareTook, `${sizeOf(compared)}: ${what()} as captured${holes(compared)}`),
    ];
  } catch (error) {
    return [checkFromDamage('restore_test', performance.now() - from, asStaging(error, workDir))];
  } finally {
    await removeTree(into);
  }
}

function what(): string {
  const owner = process.getuid?.() === 0 ? 'owner, ' : '';
  return `every name, byte, mode, ${owner}time, link and attribute`;
}

function holes({ sparse }: Comparison): string {
  return sparse.captured === 0
    ? ''
    : `; ${count(sparse.found)} of ${count(sparse.captured)} sparse files have holes again`;
}

function sizeOf({ entries, bytes }: { entries: number; bytes: number }): string {
  return `${count(entries)} entries, ${formatBytes(bytes)}`;
}

function count(n: number): string {
  return n.toLocaleString('en-US');
}

/** The folder of a test restore is ours: that it is full says nothing of the point, and passes. */
function asStaging(error: unknown, workDir: string): unknown {
  if (!isFailure(error, 'TargetUnusable') || !/ENOSPC|EDQUOT/.test(error.message)) return error;
  return new Failure('StagingFull', `The test restore into ${workDir} found no space: ${error.message}`, {
    next: 'Free space on the staging disk, or give it more; the backup is tried again.',
    cause: error,
  });
}
