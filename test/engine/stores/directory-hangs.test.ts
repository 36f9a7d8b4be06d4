import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { metaPath } from '../../../engine/stores/directory/meta.ts';
import { probeToken } from '../../../engine/stores/directory/pending.ts';
import { bytesSource, createDirectoryStore, fileSource, type Store } from '../../../engine/stores/index.ts';
import { isFailure } from '../../../policies/failure.ts';
import { type Hang, type HangingDisk, hangingDisk } from '../../support/hanging-disk.ts';
import { all, bytesOf, content, growing, keysOf, pendingOf, put, sha256Of, textOf } from './fixture.ts';

const dir = mkdtempSync(path.join(tmpdir(), 'store-hangs-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
let root: string;
let disk: HangingDisk;
let store: Store;
function openStore(): void {
  root = mkdtempSync(path.join(dir, 'store-'));
  disk = hangingDisk();
  store = createDirectoryStore({ name: 'disk', path: root, disk });
}
beforeEach(openStore);

const bytes = content(200_000);
const large = content(2_500_000);
let resume: string | undefined;
const facts = { bytes: bytes.length, sha256: sha256Of(bytes) };
const staged = path.join(dir, 'staged');
writeFileSync(staged, bytes);

/** Everything that a store is asked for; `shop/a` is there beforehand, and `shop/b` and `shop/c` are not. */
const methods: Record<string, () => Promise<unknown>> = {
  check: () => store.check(),
  clock: () => store.clock(),
  capabilities: () => store.capabilities(),
  put: () => store.put('shop/b', bytesSource(bytes), { ...again(), onProgress: (p) => (resume = p.resume) }),
  'put of a file': () => store.put('shop/c', fileSource(staged, facts), again()),
  'put of what is there': () => put(store, 'shop/a', 'precious'),
  'beginPut, and a sweep': async () => {
    await store.beginPut('shop/c', growing().grow(bytes).end(), {});
    for await (const pending of store.listPending('shop/')) await store.abortPut(pending);
  },
  get: () => textOf(store, 'shop/a'),
  head: () => store.head('shop/a'),
  list: () => all(store.list('')),
  listPending: () => pendingOf(store, ''),
  setTags: () => store.setTags('shop/a', { Lifecycle: 'Archive' }),
  getTags: () => store.getTags('shop/a'),
  delete: () => store.delete('shop/a'),
};
const again = () => (resume === undefined ? {} : { resume });

/** How the work fails, with place and call. */
async function silenceOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (isFailure(error, 'StoreUnreachable') && error.message.includes(`disk (${root}): the file system `)) {
      return error.message;
    }
    throw error;
  }
  return 'it did not fail';
}

/** Looks after every turn of the event loop. */
async function soon(look: () => unknown): Promise<void> {
  for (let turns = 1; ; turns++) {
    try {
      return void (await look());
    } catch (error) {
      if (turns === 100_000) throw error;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** What lies in the folder; without what looking at its capabilities leaves in the worst case, which the next look removes. */
function found(): string[] {
  const probes = `.pending/${probeToken().slice(0, 16)}`;
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' });
  return names.filter((name) => !name.startsWith(probes)).sort();
}

describe('a call to the file system that hangs', () => {
  // Time passes when a call hangs, and only then: a disk that is slow while the tests run hangs nowhere.
  const real = [
    'Date',
    'hrtime',
    'nextTick',
    'performance',
    'queueMicrotask',
    'setImmediate',
    'clearImmediate',
  ] as const;
  beforeEach(() => void jest.useFakeTimers({ doNotFake: [...real] }));
  afterEach(() => void jest.useRealTimers());
  const anHourPasses = async () => {
    await disk.hung();
    jest.advanceTimersByTime(3_600_000);
  };

  for (const [name, method] of Object.entries(methods)) {
    test(`fails ${name}, at whichever call; the next fails at once; once it goes on, all is as if nothing had been`, async () => {
      await put(store, 'shop/a', 'precious');
      const before = disk.calls.length;
      resume = undefined;
      await method();
      const calls = disk.calls.slice(before);
      const calm = found();
      for (const [nth, call] of calls.entries()) {
        // By then its reader has all bytes.
        if (name === 'get' && call === 'file.close') continue;
        for (const how of ['before it is done', 'once it is done'] satisfies Hang[]) {
          openStore();
          await put(store, 'shop/a', 'precious');
          resume = undefined;
          disk.hang(nth, how);
          const where = `${nth} ${call}, ${how}`;
          const [said] = await Promise.all([silenceOf(method()), anHourPasses()]);
          expect([where, said]).toEqual([where, expect.stringMatching(/has not (returned|answered)/)]);
          const made = disk.calls.length;
          expect([where, await silenceOf(method())]).toEqual([where, expect.stringMatching(/has not answered since/)]);
          expect([where, disk.calls.length]).toEqual([where, made]);
          disk.goOn();
          await soon(() => store.check());
          await method();
          await soon(() => expect([where, disk.openFiles()]).toEqual([where, 0]));
          expect([where, found()]).toEqual([where, calm]);
        }
      }
    });
  }

  test('does no harm when it goes on after another process has done the work, and has removed it again', async () => {
    resume = undefined;
    await methods.put?.();
    const calls = [...disk.calls];
    for (const [nth, call] of calls.entries()) {
      openStore();
      resume = undefined;
      disk.hang(nth, 'before it is done');
      await Promise.all([silenceOf(store.put('shop/b', bytesSource(bytes), {})), anHourPasses()]);
      const other = createDirectoryStore({ name: 'disk', path: root, disk: hangingDisk() });
      await other.put('shop/b', bytesSource(bytes), {});
      if (nth % 2 === 1) await other.delete('shop/b');
      disk.goOn();
      await soon(() => store.check());
      await soon(() => expect([nth, call, disk.openFiles()]).toEqual([nth, call, 0]));
      expect([nth, call, await keysOf(other, '')]).toEqual([nth, call, nth % 2 === 1 ? [] : ['shop/b']]);
      for await (const pending of other.listPending('shop/')) await other.abortPut(pending);
      expect([nth, call, await pendingOf(other, '')]).toEqual([nth, call, []]);
      const stored = await put(other, 'shop/b', bytes);
      expect([nth, call, stored]).toMatchObject([nth, call, { sha256: facts.sha256 }]);
      expect([nth, call, bytes.equals(await bytesOf(other, 'shop/b'))]).toEqual([nth, call, true]);
    }
  });

  test('ends a reader that is in the middle of an object', async () => {
    await put(store, 'shop/b', large);
    const stream = await store.get('shop/b');
    disk.hang(1, 'before it is done');
    const [said] = await Promise.all([silenceOf(all(stream)), anHourPasses()]);
    expect(said).toMatch(/"read .*shop\/b" has not returned for 1 min 30 s/);
    disk.goOn();
    await soon(() => expect(disk.openFiles()).toBe(0));
  });

  test('is not one that only waits: for a source that grows slowly, or a reader that does not read', async () => {
    const source = growing();
    const pending = store.beginPut('shop/b', source.grow(bytes), {});
    const stream = await put(store, 'shop/a', large).then(() => store.get('shop/a'));
    jest.advanceTimersByTime(24 * 3_600_000);
    source.end();
    await store.completePut(await pending);
    expect(Buffer.concat((await all(stream)) as Buffer[]).equals(large)).toBe(true);
  });
});

describe('a file system that really hangs, by a pipe that nobody writes into,', () => {
  const pipes = (keys: string[]) =>
    keys.map((key) => {
      const pipe = metaPath(root, key);
      rmSync(pipe);
      execFileSync('mkfifo', [pipe]);
      return pipe;
    });
  /** False when nobody was reading it. */
  const letGo = (pipe: string) => {
    try {
      closeSync(openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK));
      return true;
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe('ENXIO');
      return false;
    }
  };

  test('leaves threads to others, and is itself again when it goes on', async () => {
    const keys = Array.from({ length: 8 }, (_, i) => `shop/${i}`);
    for (const key of keys) await put(store, key, key);
    const held = pipes(keys);
    const impatient = createDirectoryStore({ name: 'disk', path: root, silentMaxMs: 300 });
    let stuck: string[] = [];
    try {
      const said = await Promise.all(keys.map((key) => silenceOf(impatient.head(key))));
      expect(said).toEqual(keys.map(() => expect.stringMatching(/has not (returned|answered)/)));
      // The threads of the pool are still in their calls.
      expect(await readFile(import.meta.filename)).toEqual(readFileSync(import.meta.filename));
    } finally {
      stuck = held.filter(letGo);
    }
    expect(stuck.length).toBeGreaterThan(0);
    expect(stuck.length).toBeLessThanOrEqual(2);
    for (const pipe of held) rmSync(pipe);
    await soon(() => impatient.check());
    expect(await impatient.head('shop/7')).toMatchObject({ bytes: 6 });
  });
});
