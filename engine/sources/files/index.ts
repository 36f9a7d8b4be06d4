import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { FilesSource } from '../../../policies/policy.ts';
import { checkFromDamage, failedCheck, passedCheck } from '../checks.ts';
import type { Source } from '../source.ts';
import { compareTree } from './compare.ts';
import { restoreTree } from './restore.ts';
import { sealTree } from './seal.ts';
import { walk } from './walk.ts';

export { compareTree } from './compare.ts';

/** A file tree. */
export function createFilesSource(policy: FilesSource): Source {
  return {
    name: policy.name,
    kind: 'files',

    async probe() {
      // The first entry is the root: it is there, a folder, and can be listed.
      const warnings: string[] = [];
      const found = walk({ root: policy.path, warn: (w) => warnings.push(w) });
      await found.next();
      await found.next();
      await found.return(undefined);
      return { estimatedBytes: 0, facts: { path: policy.path } };
    },

    seal: (writer, options) => sealTree(policy, writer, options),

    restore: (point, options) => restoreTree(point, options),

    async compare(point, place, signal) {
      const { entries, bytes, examples } = await compareTree(point, place, signal);
      return { differences: examples, details: `${entries} entries and ${bytes} bytes` };
    },

    async testRestore(point, { workDir, signal, onProgress }) {
      const into = path.join(workDir, 'tree');
      const from = performance.now();
      try {
        const restored = await restoreTree(point, { into, signal, onProgress });
        const took = performance.now() - from;
        const restore = passedCheck(
          'restore_test',
          took,
          `${restored.entries} entries and ${restored.bytes} bytes restored into an isolated folder`,
        );
        const compareFrom = performance.now();
        const compared = await compareTree(point, into, signal);
        const compareTook = performance.now() - compareFrom;
        if (compared.differences > 0) {
          return [restore, failedCheck('content', compareTook, `${compared.differences} differences: ${compared.examples.join('; ')}`)];
        }
        const details = `${compared.entries} entries and ${compared.bytes} bytes: names, content, modes, owners, times and attributes as captured`;
        return [restore, passedCheck('content', compareTook, details)];
      } catch (error) {
        return [checkFromDamage('restore_test', performance.now() - from, error)];
      } finally {
        await rm(into, { recursive: true, force: true });
      }
    },
  };
}

