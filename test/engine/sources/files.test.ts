import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createFilesSource } from '../../../engine/sources/index.ts';
import { filesSource } from '../../../policies/policy.ts';
import { describeSource } from './conformance.ts';
import { makeNastyTree, makeRootsTree } from './nasty-tree.ts';

describeSource('files', async () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'source-files-'));
  makeNastyTree(path.join(dir, 'tree'));
  if (process.getuid?.() === 0) makeRootsTree(path.join(dir, 'tree'));
  mkdirSync(path.join(dir, 'empty'));
  const source = (name: string) =>
    createFilesSource(filesSource.parse({ name: 'docs', kind: 'files', path: path.join(dir, name) }));
  let serial = 0;
  return {
    source: source('tree'),
    contentFormat: 'pax-tar',
    empty: source('empty'),
    missing: source('nowhere'),
    target: async () => path.join(dir, `target-${++serial}`),
    held: async (target) => (existsSync(target) ? readdirSync(target, { recursive: true, encoding: 'utf8' }) : []),
    async occupied() {
      const into = path.join(dir, `occupied-${++serial}`);
      mkdirSync(into);
      writeFileSync(path.join(into, 'precious'), 'mine');
      return { into, name: 'precious' };
    },
    alter: async (target) => writeFileSync(path.join(target, 'size 1M'), 'y', { flag: 'r+' }),
    remove: async () => rmSync(dir, { recursive: true, force: true }),
  };
});
