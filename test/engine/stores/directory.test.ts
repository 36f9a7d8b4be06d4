import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createDirectoryStore } from '../../../engine/stores/index.ts';
import { describeStore } from './conformance.ts';

describeStore('directory', async () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'store-directory-'));
  const root = path.join(dir, 'store');
  mkdirSync(root);
  return {
    open: () => createDirectoryStore({ name: 'disk', path: root }),
    partBytes: 512 * 1024,
    has: {
      conditionalPut: true,
      checksums: true,
      resume: true,
      tags: true,
      metadata: true,
      storageClass: false,
      sse: false,
      lock: false,
      versioning: false,
    },
    nests: false,
    remove: async () => rmSync(dir, { recursive: true, force: true }),
  };
});
