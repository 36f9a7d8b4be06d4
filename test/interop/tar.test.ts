import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setXattr } from '../../engine/sources/files/posix.ts';
import { createFilesSource } from '../../engine/sources/index.ts';
import { filesSource } from '../../policies/policy.ts';
import { makePlace, type Place } from '../engine/artifact/sealing.ts';
import { beforeReading, type SealedSource, sealSource } from '../engine/sources/conformance.ts';
import { makeNastyTree, makeRootsTree } from '../engine/sources/nasty-tree.ts';

/** GNU tar and zstd restore what we sealed. */

const isRoot = process.getuid?.() === 0;
/** It does not know POSIX's hdrcharset, and finds 1969 implausible. */
const quiet = ['--warning=no-unknown-keyword', '--warning=no-timestamp'];

let place: Place;
let dir: string;
let tree: string;
let tarFile: string;
let zstFile: string;

beforeAll(async () => {
  place = await makePlace();
  dir = mkdtempSync(path.join(tmpdir(), 'interop-tar-'));
  tree = path.join(dir, 'tree');
  makeNastyTree(tree);
  if (isRoot) makeRootsTree(tree);
  ({ tarFile, zstFile } = await toTar(tree, 'tree'));
});
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await place.remove();
});

const sourceOf = (root: string) => createFilesSource(filesSource.parse({ name: 'docs', kind: 'files', path: root }));

/** Seals a tree; decrypts the artifact, and has `zstd` decompress it. */
async function toTar(
  root: string,
  name: string,
  happens: (file: string) => void = () => {},
): Promise<SealedSource & { tarFile: string; zstFile: string }> {
  const sealed = await sealSource(place, sourceOf(root), undefined, (w) => beforeReading(w, happens));
  const zst = path.join(dir, `${name}.tar.zst`);
  const artifact = await sealed.reader.artifact();
  const file = await open(zst, 'w');
  for (let offset = 0; offset < artifact.plainBytes; offset += 1_000_000) {
    await file.write(await artifact.read(offset, Math.min(1_000_000, artifact.plainBytes - offset)));
  }
  await file.close();
  run('zstd', '-dq', zst, '-o', path.join(dir, `${name}.tar`));
  return { ...sealed, tarFile: path.join(dir, `${name}.tar`), zstFile: zst };
}

function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C.UTF-8' },
  });
  if (error) throw error;
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

function extract(file: string, name: string): string {
  const into = path.join(dir, name);
  mkdirSync(into);
  run('tar', '-x', ...quiet, '-p', '-f', file, '-C', into, '--acls', '--xattrs', '--xattrs-include=*', '--same-owner');
  return into;
}

describe('GNU tar', () => {
  test('finds no difference between the tree and its archive', () => {
    expect(run('tar', '--compare', ...quiet, '-f', tarFile, '-C', tree)).toBe('');
  });

  test('restores the tree: names, bytes, modes, owners, times, links, attributes and ACLs', async () => {
    const into = extract(tarFile, 'by tar');
    const { reader } = await sealSource(place, sourceOf(tree));
    const compared = await sourceOf(tree).compare(reader, into, new AbortController().signal);
    expect(compared.differences).toEqual([]);
    expect(run('getfacl', '-Rnp', '--omit-header', into)).toBe(run('getfacl', '-Rnp', '--omit-header', tree));
    expect(run('getfacl', '-np', `${into}/ünï→ 漢字`)).toContain('user:12345:r-x');
    expect(statSync(path.join(into, 'hard 1')).ino).toBe(statSync(path.join(into, 'hard 2')).ino);
  });

  test('reads the archive to its end: nothing follows the last member but empty blocks', () => {
    const listed = run('tar', '-t', ...quiet, '-f', tarFile, '--quoting-style=escape')
      .trim()
      .split('\n');
    expect(listed[0]).toBe('./');
    expect(statSync(tarFile).size % 10_240).toBe(0);
    expect(run('zstd', '-lq', zstFile)).toMatch(/zst/);
  });

  test.each(['once', 'every time'])(
    'restores files that changed %s they were read, with all their names',
    async (often) => {
      const busy = path.join(dir, `busy ${often}`);
      makeBusyTree(busy);
      let reads = 0;
      const sealed = await toTar(busy, `busy ${often}`, (file) => {
        if (!/ changing$/.test(file) || (reads++ > 0 && often === 'once')) return;
        appendFileSync(file, ' and more');
      });
      expect(sealed.point.content.unstable).toBe(often === 'once' ? 0 : 1);
      const into = extract(sealed.tarFile, `busy ${often} by tar`);
      // What our own restore brings back is what the manifest names; tar's last members must be the same.
      const { differences } = await sourceOf(busy).compare(sealed.reader, into, new AbortController().signal);
      // Tar sets a folder's time before the members that were appended for files within it.
      expect(differences.filter((d) => !d.startsWith('.: mtimeNs'))).toEqual([]);
      expect(readFileSync(path.join(into, 'zz other name'), 'utf8')).toBe(
        often === 'once' ? 'start and more' : 'start and more and more',
      );
    },
  );
});

/** Several files of several frames, so that reading again falls into the middle of others. */
function makeBusyTree(root: string): void {
  mkdirSync(root);
  for (const name of ['a', 'z']) {
    for (let i = 0; i < 3; i++) writeFileSync(path.join(root, `${name}${i}`), Buffer.alloc(5_500_000, `${name}${i}`));
  }
  writeFileSync(path.join(root, 'm changing'), 'start');
  setXattr(Buffer.from(path.join(root, 'm changing')), 'user.kept', Buffer.from('yes'));
  run('ln', path.join(root, 'm changing'), path.join(root, 'n other name'));
  run('ln', path.join(root, 'm changing'), path.join(root, 'zz other name'));
}
