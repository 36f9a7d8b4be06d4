import {
  chmodSync,
  closeSync,
  cpSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  type ArtifactWriter,
  generateSigningKey,
  openPoint,
  openReference,
  publicKeyOf,
  readSigningKey,
  signBackupJson,
  verifyPoint,
} from '../../../engine/artifact/index.ts';
import { createFilesSource, type Source } from '../../../engine/sources/index.ts';
import type { Store } from '../../../engine/stores/index.ts';
import { filesSource } from '../../../policies/policy.ts';
import { backupJsonName, storedBytes } from '../../../policies/recovery-point.ts';
import { failureOf, makePlace, noise, type Place } from '../artifact/sealing.ts';
import { type SealedSource, sealSource } from './conformance.ts';
import { makeNastyTree } from './nasty-tree.ts';

const MiB = 1024 * 1024;
const key = readSigningKey(generateSigningKey());
const trusted = [publicKeyOf(key)];
const signal = new AbortController().signal;

let place: Place;
let dir: string;
let root: string;
let source: Source;
let serial = 0;

beforeAll(async () => {
  place = await makePlace();
  dir = mkdtempSync(path.join(tmpdir(), 'chain-'));
});
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await place.remove();
});
beforeEach(() => freshTree());

function freshTree(): void {
  root = path.join(dir, `tree-${++serial}`);
  mkdirSync(root);
  source = createFilesSource(filesSource.parse({ name: 'docs', kind: 'files', path: root }));
}

const at = (name: string) => path.join(root, name);
/** Long after all that a test has written: by then no file can be written to in the instant in which it was read. */
const later = () => new Date(Date.now() + 60_000).toISOString();

interface Made extends SealedSource {
  /** What was read, by name within the tree. */
  read: string[];
}

/** Seals and signs a point: a full one, or one that is compared with another. */
async function seal(since: SealedSource | null, begunAt?: string): Promise<Made> {
  const read: string[] = [];
  const watch = (writer: ArtifactWriter): ArtifactWriter => ({
    ...writer,
    frame(pieces) {
      for (const p of pieces) if (p.kind === 'file') read.push(path.relative(root, Buffer.from(p.path).toString()));
      return writer.frame(pieces);
    },
  });
  const made = await sealSource(place, source, signal, watch, { since, trusted, ...(begunAt ? { begunAt } : {}) });
  const validation = { finishedAt: made.point.sealedAt, passed: true, checks: [] };
  writeFileSync(path.join(made.dir, backupJsonName), signBackupJson({ ...made.point, validation }, key));
  return { ...made, read: [...new Set(read)] };
}

/** As somebody else opens it, who has read nothing of it yet. */
async function open(made: Made, store = place.store): Promise<Made> {
  const { id, source: of } = made.point;
  const { identity } = place;
  const parents = { store, trusted };
  return { ...made, reader: await openPoint({ store, source: of.name, id, identity, sealed: true, parents }) };
}

/** Compares what the point holds with the tree as it is, and with what it brings back. */
async function differences({ reader }: SealedSource): Promise<string[]> {
  const into = path.join(dir, `restored-${++serial}`);
  await source.restore(reader, { into, signal, onProgress: () => {} });
  const captured = await source.compare(reader, root, signal);
  const restored = await source.compare(reader, into, signal);
  rmSync(into, { recursive: true });
  return [...captured.differences, ...restored.differences];
}

describe('a point that is compared with another', () => {
  test('brings back everything, though it stores nothing, when nothing has changed', async () => {
    makeNastyTree(root);
    const full = await seal(null);
    const next = await seal(full, later());
    expect(next.point).toMatchObject({ level: 'incremental', parent: full.point.id, content: { format: 'blocks' } });
    expect(next.point.content).toMatchObject({ bytes: 0, sourceBytes: full.point.content.sourceBytes });
    expect(next.read).toEqual([]);
    expect(await differences(next)).toEqual([]);
    expect(await verifyPoint(next.reader, { signal })).toMatchObject({ problems: [] });
  });

  test('reads what somebody touched, and stores what has changed of it', async () => {
    for (const name of ['as it was', 'chmod only', 'new bytes', 'gone', 'to be renamed', 'other inode'])
      writeFileSync(at(name), noise(20_000, name.length));
    mkdirSync(at('folder'));
    linkSync(at('as it was'), at('folder/second name'));
    const full = await seal(null);

    chmodSync(at('chmod only'), 0o640);
    writeFileSync(at('new bytes'), noise(20_000, 99));
    rmSync(at('gone'));
    renameSync(at('to be renamed'), at('folder/renamed'));
    writeFileSync(at('added'), 'new');
    rmSync(at('folder/second name'));
    symlinkSync('../added', at('folder/second name'));
    const { atime, mtime } = statSync(at('other inode'));
    writeFileSync(at('replacement'), noise(20_000, 7));
    utimesSync(at('replacement'), atime, mtime);
    renameSync(at('replacement'), at('other inode'));
    const next = await seal(full, later());
    // It has one name less, which its change time tells.
    expect(next.read.toSorted()).toEqual(
      ['added', 'as it was', 'chmod only', 'folder/renamed', 'new bytes', 'other inode'].sort(),
    );
    // Three files of 20,000 bytes and one of 3: neither the one whose mode has changed, nor the one with a name less.
    expect(next.point.content.bytes).toBe(60_003);
    expect(await differences(next)).toEqual([]);
  });

  test('reads a file that may have changed in the instant in which it was read', async () => {
    writeFileSync(at('busy'), noise(5000));
    const full = await seal(null);
    const next = await seal(full);
    expect(next.read).toEqual(['busy']);
    expect(next.point.content.bytes).toBe(0);
  });

  test('stores the changed blocks of large files alone', async () => {
    for (let i = 0; i < 4; i++) writeFileSync(at(`large ${i}`), noise(8 * MiB, i + 1));
    const full = await seal(null);
    for (let i = 0; i < 4; i++) overwrite(at(`large ${i}`), (i + 0.25) * MiB, noise(0.5 * MiB, 50 + i));
    const next = await seal(full, later());
    expect(next.point.content.bytes).toBe(4 * MiB);
    expect(storedBytes(next.point)).toBeLessThan(4.1 * MiB);
    expect(await differences(next)).toEqual([]);
  });

  test('follows files that grow, shrink and are cut within a block', async () => {
    for (const name of ['grows', 'shrinks', 'is cut', 'becomes empty', 'was empty'])
      writeFileSync(at(name), noise(name === 'was empty' ? 0 : 3.5 * MiB, name.length));
    const full = await seal(null);
    writeFileSync(at('grows'), noise(2 * MiB, 70), { flag: 'a' });
    truncateSync(at('shrinks'), 2 * MiB);
    truncateSync(at('is cut'), 1.25 * MiB);
    truncateSync(at('becomes empty'), 0);
    writeFileSync(at('was empty'), noise(1.5 * MiB, 71));
    const next = await seal(full, later());
    expect(await differences(next)).toEqual([]);
    expect(next.point.content.bytes).toBe((2 + 0.25 + 1.5) * MiB);
  });

  test('takes nothing for unchanged that is a folder now, or was one', async () => {
    writeFileSync(at('a'), 'file');
    mkdirSync(at('b'));
    writeFileSync(at('b/inside'), 'inside');
    const full = await seal(null);
    rmSync(at('a'));
    mkdirSync(at('a'));
    writeFileSync(at('a/inside'), 'inside');
    rmSync(at('b'), { recursive: true });
    writeFileSync(at('b'), 'file');
    expect(await differences(await seal(full, later()))).toEqual([]);
  });

  test('is read with one request for each point, not one for each file', async () => {
    for (let i = 0; i < 60; i++) writeFileSync(at(`${i}`), noise(4000, i + 1));
    const full = await seal(null);
    for (let i = 0; i < 60; i += 2) writeFileSync(at(`${i}`), noise(4000, 100 + i));
    const next = await seal(full, later());
    const asked: string[] = [];
    const store: Store = {
      ...place.store,
      get: (name, range, ...more) => {
        if (/data\.(tar|blocks)/.test(name) && range && range.offset > 0) asked.push(name);
        return place.store.get(name, range, ...more);
      },
    };
    const into = path.join(dir, `restored-${++serial}`);
    await source.restore((await open(next, store)).reader, { into, signal, onProgress: () => {} });
    expect(asked).toHaveLength(2);
    expect(readFileSync(path.join(into, '2')).equals(noise(4000, 102))).toBe(true);
  });
});

function overwrite(file: string, offset: number, bytes: Buffer): void {
  const fd = openSync(file, 'r+');
  writeSync(fd, bytes, 0, bytes.length, offset);
  fsyncSync(fd);
  closeSync(fd);
}

test('whatever becomes of a tree, every point of its chain brings back what was there', async () => {
  const name = fc.constantFrom('a', 'b', 'sub/a', 'sub/c');
  const size = fc.constantFrom(0, 1, 5000, MiB, 1.25 * MiB);
  const seed = fc.integer({ min: 1, max: 1e6 });
  const edit = fc.oneof(
    fc.record({ do: fc.constant('write' as const), name, size, seed }),
    fc.record({ do: fc.constant('patch' as const), name, size, seed }),
    fc.record({ do: fc.constant('remove' as const), name, size, seed }),
    fc.record({ do: fc.constant('rename' as const), name, to: name, size, seed }),
    fc.record({ do: fc.constant('link' as const), name, to: name, size, seed }),
    fc.record({ do: fc.constant('chmod' as const), name, size, seed }),
  );
  const apply = (e: { do: string; name: string; to?: string; size: number; seed: number }) => {
    const [from, to] = [at(e.name), at(e.to ?? e.name)];
    if (e.do === 'write') writeFileSync(from, noise(e.size + 4, e.seed).subarray(0, e.size));
    if (!existsSync(from)) return;
    if (e.do === 'remove') rmSync(from);
    if (e.do === 'rename') renameSync(from, to);
    if (e.do === 'link' && from !== to) {
      rmSync(to, { force: true });
      linkSync(from, to);
    }
    if (e.do === 'chmod') chmodSync(from, 0o600 + (e.seed % 0o77));
    if (e.do === 'patch') overwrite(from, Math.min(e.size, statSync(from).size), noise(100, e.seed));
  };
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(edit, { maxLength: 6 }), { minLength: 1, maxLength: 4 }), async (days) => {
      freshTree();
      mkdirSync(at('sub'));
      writeFileSync(at('a'), noise(1.5 * MiB));
      let last = await seal(null);
      expect(await differences(last)).toEqual([]);
      for (const edits of days) {
        edits.forEach(apply);
        last = await seal(last, later());
        expect(await differences(last)).toEqual([]);
      }
      expect(await verifyPoint(last.reader, { signal })).toMatchObject({ problems: [] });
    }),
    { numRuns: 6 },
  );
}, 120_000);

describe('reading a chain', () => {
  async function chainOfTwo(): Promise<{ full: Made; next: Made }> {
    writeFileSync(at('old'), noise(3 * MiB, 1));
    writeFileSync(at('new'), noise(1000, 2));
    const full = await seal(null);
    writeFileSync(at('new'), noise(1000, 3));
    return { full, next: await seal(full, later()) };
  }
  const verifying = (made: Made, parents: 'read' | 'look') => verifyPoint(made.reader, { signal, parents });

  test('names the point that is missing', async () => {
    const { full, next } = await chainOfTwo();
    rmSync(full.dir, { recursive: true });
    const into = path.join(dir, `restored-${++serial}`);
    const failure = await failureOf(source.restore(next.reader, { into, signal, onProgress: () => {} }));
    expect(failure).toMatchObject({
      type: 'ChainBroken',
      message: expect.stringContaining(`needs docs/${full.point.id}`),
    });
    for (const parents of ['look', 'read'] as const) {
      const { problems } = await verifying(next, parents);
      expect(problems).toEqual([expect.stringContaining(`needs docs/${full.point.id}`)]);
    }
  });

  test('takes no block from a point that nobody trusted has signed', async () => {
    const { full, next } = await chainOfTwo();
    const validation = { finishedAt: full.point.sealedAt, passed: true, checks: [] };
    const stranger = readSigningKey(generateSigningKey());
    writeFileSync(path.join(full.dir, backupJsonName), signBackupJson({ ...full.point, validation }, stranger));
    expect((await verifying(next, 'look')).problems).toEqual([expect.stringContaining(full.point.id)]);
  });

  test('finds damage in the points that it needs when it reads them, and a length that is wrong when it looks', async () => {
    const { full, next } = await chainOfTwo();
    const artifact = path.join(full.dir, 'data.tar.zst.tink');
    overwrite(artifact, 1.5 * MiB, Buffer.from('damage'));
    expect((await verifying(next, 'look')).problems).toEqual([]);
    const { problems } = await verifying(await open(next), 'read');
    expect(problems.join()).toMatch(/^old.*needs docs-.*segment 1/);
    truncateSync(artifact, statSync(artifact).size - 1);
    expect((await verifying(await open(next), 'look')).problems.join()).toContain('bytes instead of');
  });
});

describe('what a backup host keeps to compare with', () => {
  const manifestOf = ({ point }: Made) => point.objects.find((o) => o.role === 'manifest')?.sha256 ?? '';

  test('is for nobody else to read, and holds no contents', async () => {
    const secret = 'the recipe of the sauce';
    writeFileSync(at('recipe'), secret);
    const full = await seal(null);
    const file = path.join(full.dir, 'reference.ndjson.zst');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const text = zstdDecompressSync(readFileSync(file)).toString();
    expect(text).toContain('recipe');
    expect(text).not.toContain(secret);
  });

  test('counts only for the very point that the catalog knows, and unharmed', async () => {
    writeFileSync(at('a'), 'a');
    const full = await seal(null);
    const expected = { id: full.point.id, manifest: manifestOf(full) };
    expect(await openReference(full.dir, expected)).toMatchObject({ id: full.point.id });
    const problemOf = async (folder: string, point = expected) => {
      const found = await openReference(folder, point);
      return 'problem' in found ? found.problem : null;
    };
    expect(await problemOf(full.dir, { ...expected, manifest: '0'.repeat(64) })).toContain('is not what the catalog');
    expect(await problemOf(path.join(full.dir, 'nowhere'))).toContain('kept nothing');
    const copy = path.join(dir, `copy-${++serial}`);
    cpSync(full.dir, copy, { recursive: true });
    writeFileSync(path.join(copy, 'reference.ndjson.zst'), 'harmed');
    expect(await problemOf(copy)).toContain('damaged');
    writeFileSync(path.join(copy, 'reference.json'), '{"id":');
    expect(await problemOf(copy)).toContain('kept nothing');
  });
});
