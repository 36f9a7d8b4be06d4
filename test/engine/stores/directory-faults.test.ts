import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { probeToken } from '../../../engine/stores/directory/pending.ts';
import { bytesSource, createDirectoryStore, fileSource, type Store } from '../../../engine/stores/index.ts';
import { isFailure } from '../../../policies/failure.ts';
import { all, content, failureType, keysOf, pendingOf, put, sha256Of, textOf, troubled } from './fixture.ts';

const dir = mkdtempSync(path.join(tmpdir(), 'store-faults-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
let root: string;
let store: Store;
beforeEach(() => {
  root = mkdtempSync(path.join(dir, 'store-'));
  store = createDirectoryStore({ name: 'disk', path: root });
});

/** Every method, on a key that is there as far as there is anything. */
const everyMethod = (key: string): Record<string, () => Promise<unknown>> => ({
  check: () => store.check(),
  capabilities: () => store.capabilities(),
  put: () => put(store, key, 'other'),
  beginPut: () => store.beginPut(key, bytesSource('other'), {}),
  listPending: () => all(store.listPending('')),
  get: async () => (await store.get(key)).destroy(),
  head: () => store.head(key),
  list: () => all(store.list('')),
  copy: () => store.copy(key, 'copy'),
  delete: () => store.delete(key),
  setTags: () => store.setTags(key, {}),
  getTags: () => store.getTags(key),
});

const typesOf = async (works: Record<string, () => Promise<unknown>>) =>
  Object.fromEntries(
    await Promise.all(Object.entries(works).map(async ([name, work]) => [name, await failureType(work())])),
  ) as Record<string, string>;

async function messageOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (isFailure(error)) return `${error.message} ${error.next}`;
    throw error;
  }
  return 'it did not fail';
}

describe('a folder that is not there', () => {
  test('is missing, by every method, and is not made: its disk may not be mounted', async () => {
    rmSync(root, { recursive: true });
    for (const type of Object.values(await typesOf(everyMethod('shop/a')))) expect(type).toBe('BucketMissing');
    expect(existsSync(root)).toBe(false);
    const message = await messageOf(put(store, 'shop/a', 'x'));
    expect(message).toContain('disk');
    expect(message).toContain(root);
    expect(message).toMatch(/mount its disk/);
  });

  test('is missing when a file has its name', async () => {
    rmSync(root, { recursive: true });
    writeFileSync(root, 'no folder');
    for (const type of Object.values(await typesOf(everyMethod('shop/a')))) expect(type).toBe('BucketMissing');
  });

  test('is missing when it goes while a put is under way', async () => {
    const pending = await store.beginPut('shop/a', bytesSource('x'), {});
    renameSync(root, `${root}-away`);
    expect(await failureType(store.completePut(pending))).toBe('BucketMissing');
    expect(existsSync(root)).toBe(false);
    renameSync(`${root}-away`, root);
    expect(await store.completePut(pending)).toMatchObject({ key: 'shop/a', bytes: 1 });
  });
});

describe('a folder that refuses', () => {
  /** Runs the work as a user who may read the folder, and no more. */
  async function asReader<T>(work: () => Promise<T>): Promise<T> {
    for (const name of ['', ...readdirSync(root, { recursive: true, encoding: 'utf8' })]) {
      const file = path.join(root, name);
      chmodSync(file, statSync(file).isDirectory() ? 0o555 : 0o444);
    }
    chmodSync(dir, 0o755);
    // Root may write everywhere.
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid?.(65_534);
    try {
      return await work();
    } finally {
      if (isRoot) process.seteuid?.(0);
      for (const name of ['', ...readdirSync(root, { recursive: true, encoding: 'utf8' })]) {
        const file = path.join(root, name);
        chmodSync(file, statSync(file).isDirectory() ? 0o755 : 0o644);
      }
    }
  }

  test('may be read, and refuses to be written, naming store, folder and object', async () => {
    await put(store, 'shop/a', 'precious', { tags: { Lifecycle: 'Archive' } });
    const { types, message, has } = await asReader(async () => ({
      types: await typesOf(everyMethod('shop/a')),
      message: await messageOf(put(store, 'shop/b', 'x')),
      has: await store.capabilities(),
    }));
    const fine = 'it did not fail';
    expect(types).toEqual({
      check: fine,
      capabilities: fine,
      // The very object is there, with other content: that is said first.
      put: 'ObjectExists',
      beginPut: 'ObjectExists',
      listPending: fine,
      get: fine,
      head: fine,
      list: fine,
      copy: 'StoreDenied',
      delete: 'StoreDenied',
      setTags: 'StoreDenied',
      getTags: fine,
    });
    expect(message).toContain(`disk (${root}), shop/b: the file system refuses (EACCES)`);
    expect(Object.values(has)).not.toContain(true);
    expect(await textOf(store, 'shop/a')).toBe('precious');
  });
});

describe('a full disk', () => {
  test('is full, may be tried again, and what had arrived is gone on with', async () => {
    const bytes = content(300_000);
    let resume = '';
    const breaking = troubled({ bytes, breaksAt: 200_000 });
    await expect(store.beginPut('shop/a', breaking, { onProgress: (p) => (resume = p.resume) })).rejects.toThrow();
    // The kernel's own full disk, where the bytes would go.
    const file = path.join(root, '.pending', resume);
    renameSync(file, `${file}.kept`);
    symlinkSync('/dev/full', file);
    const failing = await store.put('shop/a', bytesSource(bytes), { resume }).catch((error: unknown) => error);
    if (!isFailure(failing)) throw failing;
    expect([failing.type, failing.retryable]).toEqual(['StoreFull', true]);
    expect(failing.message).toMatch(/disk \(.*\), shop\/a: there is no space left: \d+ bytes are free \(ENOSPC\)/);
    expect(await keysOf(store, '')).toEqual([]);
    renameSync(`${file}.kept`, file);
    expect((await store.put('shop/a', bytesSource(bytes), { resume })).sha256).toBe(sha256Of(bytes));
    expect(await pendingOf(store, '')).toEqual([]);
  });
});

describe('a file of the same file system', () => {
  const staged = (bytes: Buffer) => {
    const file = path.join(dir, `staged-${sha256Of(bytes).slice(0, 8)}`);
    writeFileSync(file, bytes);
    return { file, source: fileSource(file, { bytes: bytes.length, sha256: sha256Of(bytes) }) };
  };

  test('is linked, not copied, and refused when it is not as long as promised', async () => {
    const { file, source } = staged(content(5000));
    await store.put('shop/a', source, {});
    expect(statSync(path.join(root, 'shop/a')).ino).toBe(statSync(file).ino);
    writeFileSync(file, content(5001));
    expect(await failureType(store.put('shop/b', source, {}))).toBe('ChecksumMismatch');
    expect(await pendingOf(store, '')).toEqual([]);
  });

  test('is never written to, whatever goes on with its put', async () => {
    const { file, source } = staged(content(5000, 1));
    const pending = await store.beginPut('shop/a', source, {});
    // The same promise, kept by a shorter source.
    const short = { ...troubled({ bytes: content(10) }), bytes: source.bytes, sha256: source.sha256 };
    expect(await failureType(store.put('shop/a', short, { resume: pending.token }))).toBe('ChecksumMismatch');
    expect(readFileSync(file).equals(content(5000, 1))).toBe(true);
  });
});

describe('a crash', () => {
  test('between the appearing of an object and the writing of what goes with it is made good by the next attempt', async () => {
    const metadata = { 'db-name': 'shop' };
    const tags = { Lifecycle: 'Archive' };
    const pending = await store.beginPut('shop/a', bytesSource('whole'), { metadata, tags });
    mkdirSync(path.join(root, 'shop'));
    linkSync(path.join(root, '.pending', pending.token), path.join(root, 'shop/a'));
    expect(await store.head('shop/a')).toMatchObject({ bytes: 5, sha256: null, metadata: {} });
    const stored = await put(store, 'shop/a', 'whole', { metadata, tags, resume: pending.token });
    expect(stored).toMatchObject({ sha256: sha256Of(Buffer.from('whole')), metadata });
    expect(await store.getTags('shop/a')).toEqual(tags);
    expect(await textOf(store, 'shop/a')).toBe('whole');
  });

  test('leaves nothing that a sweep of the store does not find', async () => {
    const one = await store.beginPut('shop/a', bytesSource('x'), {});
    const pendingFolder = path.join(root, '.pending');
    renameSync(path.join(pendingFolder, `${one.token}.json`), path.join(pendingFolder, `${one.token}.json.new`));
    writeFileSync(path.join(pendingFolder, `${'a'.repeat(32)}.json`), '{"key":"shop/b","by');
    expect(await pendingOf(store, 'office/')).toEqual([]);
    for await (const pending of store.listPending('')) await store.abortPut(pending);
    expect(readdirSync(pendingFolder)).toEqual([]);
  });
});

describe('what a crash leaves of a put', () => {
  const pendingFolder = () => path.join(root, '.pending');
  /** The first that is written, before it has its name. */
  async function crashAtOnce(key: string): Promise<void> {
    const { token } = await store.beginPut(key, bytesSource('x'), {});
    const file = path.join(pendingFolder(), token);
    renameSync(`${file}.json`, `${file}.json.new`);
    rmSync(file);
  }

  test('goes with the next put of that key, also when the object was there already', async () => {
    await crashAtOnce('shop/a');
    await put(store, 'shop/a', 'x');
    expect(readdirSync(pendingFolder())).toEqual([]);
    const begun = await store.beginPut('shop/b', bytesSource('x'), {});
    linkSync(path.join(pendingFolder(), begun.token), path.join(root, 'shop/b'));
    await put(store, 'shop/b', 'x');
    expect(readdirSync(pendingFolder())).toEqual([]);
  });

  test('is found by those who remove all of a folder, and by nobody who removes another', async () => {
    await crashAtOnce('shop/one/a');
    expect(await pendingOf(store, 'shop/two/')).toEqual([]);
    for await (const pending of store.listPending('shop/one/')) await store.abortPut(pending);
    expect(readdirSync(pendingFolder())).toEqual([]);
  });

  test('of another key stays, for it may be under way', async () => {
    await crashAtOnce('shop/one/a');
    await put(store, 'shop/one/b', 'x');
    expect(readdirSync(pendingFolder())).toHaveLength(1);
  });
});

test('looking at what the folder can do removes what was left by one that was killed meanwhile, and not what one is using', async () => {
  await store.capabilities();
  const pendingFolder = path.join(root, '.pending');
  const [old, present] = [probeToken(), probeToken()];
  for (const name of [old, `${old}.json`, present]) writeFileSync(path.join(pendingFolder, name), '');
  const hourAgo = new Date(Date.now() - 3_600_000);
  for (const name of [old, `${old}.json`]) utimesSync(path.join(pendingFolder, name), hourAgo, hourAgo);
  await createDirectoryStore({ name: 'disk', path: root }).capabilities();
  expect(readdirSync(pendingFolder)).toEqual([present]);
});

describe('what others lay into the folder', () => {
  test('is an object when it is a file with a sensible name', async () => {
    mkdirSync(path.join(root, 'by hand'));
    writeFileSync(path.join(root, 'by hand/object'), 'plain');
    expect(await store.head('by hand/object')).toMatchObject({ bytes: 5, sha256: null, metadata: {} });
    await store.setTags('by hand/object', { Lifecycle: 'Archive' });
    expect(await store.head('by hand/object')).toMatchObject({ bytes: 5, sha256: null });
    expect(await put(store, 'by hand/object', 'plain')).toMatchObject({ sha256: sha256Of(Buffer.from('plain')) });
  });

  test('is not followed or listed otherwise', async () => {
    await put(store, 'shop/a', 'mine');
    writeFileSync(path.join(dir, 'secret'), 'not of this store');
    symlinkSync(path.join(dir, 'secret'), path.join(root, 'shop/link'));
    symlinkSync(dir, path.join(root, 'folder'));
    writeFileSync(path.join(root, 'line\nbreak'), '');
    writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0xfe])]), '');
    expect(await keysOf(store, '')).toEqual(['shop/a']);
    expect(await failureType(store.get('shop/link'))).toBe('ObjectMissing');
    expect(await failureType(put(store, 'shop/link', 'x'))).toBe('ObjectExists');
    expect(readFileSync(path.join(dir, 'secret'), 'utf8')).toBe('not of this store');
  });

  test('does no harm where it damages what goes with an object', async () => {
    await put(store, 'shop/a', 'mine', { metadata: { 'db-name': 'shop' } });
    const [meta = ''] = readdirSync(path.join(root, '.meta'));
    writeFileSync(path.join(root, '.meta', meta), '{"sha256":');
    expect(await store.head('shop/a')).toMatchObject({ bytes: 4, sha256: null, metadata: {} });
    expect(await textOf(store, 'shop/a')).toBe('mine');
    expect(await put(store, 'shop/a', 'mine', { metadata: { 'db-name': 'shop' } })).toMatchObject({
      sha256: sha256Of(Buffer.from('mine')),
      metadata: { 'db-name': 'shop' },
    });
  });
});
