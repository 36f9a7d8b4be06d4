import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { bundledWorkflows, workflowsEntry } from '../../workers/workflow-bundle.ts';

const before = process.env.XDG_CACHE_HOME;
const entry = workflowsEntry({ pinned: false });
let cache: string;

beforeEach(async () => {
  cache = await mkdtemp(path.join(tmpdir(), 'workflow-bundle-'));
  process.env.XDG_CACHE_HOME = cache;
});

afterEach(async () => {
  if (before === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = before;
  await rm(cache, { recursive: true, force: true });
});

const kept = () => readdir(path.join(cache, 'backup-coordinator', 'workflows'));

test('workers of one version share one bundle, which is made once, and old ones go when a new one comes', async () => {
  const [one, other] = await Promise.all([bundledWorkflows(entry), bundledWorkflows(entry)]);
  expect(one).toEqual(other);
  if (!('workflowBundle' in one)) throw new Error('nothing was kept');
  const { codePath } = one.workflowBundle;
  expect(await kept()).toEqual([path.basename(codePath)]);
  expect(await readFile(codePath, 'utf8')).toContain('walArchive');

  // Found, not made again: its content is what was put there.
  await writeFile(codePath, 'put there');
  const old = path.join(path.dirname(codePath), 'of-an-old-version.js');
  await writeFile(old, '');
  await utimes(old, 0, 0);
  expect(await bundledWorkflows(entry)).toEqual(one);
  expect(await readFile(codePath, 'utf8')).toBe('put there');

  await bundledWorkflows(workflowsEntry({ pinned: true }));
  expect(await kept()).toHaveLength(2);
  expect(await kept()).not.toContain(path.basename(old));
});

test('where nothing can be kept, a worker bundles by itself', async () => {
  process.env.XDG_CACHE_HOME = path.join(cache, 'a-file');
  await writeFile(path.join(cache, 'a-file'), '');
  expect(await bundledWorkflows(entry)).toEqual({ workflowsPath: entry });
});
