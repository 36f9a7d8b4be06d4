import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { encodeEntry, manifestFormat } from '../../engine/artifact/manifest.ts';
import type { Entry, WholeBlock } from '../../engine/artifact/types.ts';
import { manifestName, type SealedPoint } from '../../policies/recovery-point.ts';
import { entryOf, noise, openHere, reseal, sealHere, sealParts } from '../engine/artifact/sealing.ts';
import { makeShelf, type Shelf } from './way-out-fixture.ts';

/** restore.mjs and manifests that our writer does not make: of increments to come, and of people who mean harm. */

const MiB = 1024 * 1024;

let shelf: Shelf;
beforeAll(async () => {
  shelf = await makeShelf();
});
afterAll(() => shelf.remove());

/** Lays a point into the store as its staged description, which was changed, now is. */
function publishResealed(
  { id }: SealedPoint,
  change: (point: SealedPoint) => SealedPoint = (point) => point,
): SealedPoint {
  const file = path.join(shelf.place.dir, 'shop', id, 'sealed.json');
  const point = change(JSON.parse(readFileSync(file, 'utf8')));
  shelf.publish(point);
  return point;
}

/** A manifest with the given lines after its header. */
function manifestOf(
  point: SealedPoint,
  entries: [Entry, WholeBlock[]?][],
  others: { id: string; source: string }[] = [],
): Buffer {
  const artifacts = [{ id: point.id, source: point.source.name }, ...others];
  const lines = [JSON.stringify({ format: manifestFormat, id: point.id, artifacts })];
  let count = 0;
  let bytes = 0;
  for (const [entry, blocks = []] of entries) {
    lines.push(encodeEntry(entry));
    const tuples = blocks.map((b) => [b.artifact, b.frameOffset, b.frameBytes, b.offset, b.bytes, b.sha256]);
    if (tuples.length > 0) lines.push(JSON.stringify({ blocks: tuples }));
    count += tuples.length;
    bytes += blocks.reduce((sum, b) => sum + b.bytes, 0);
  }
  lines.push(JSON.stringify({ end: { entries: entries.length, blocks: count, bytes } }));
  return zstdCompressSync(`${lines.join('\n')}\n`);
}

const root = entryOf('', { type: 'directory', mode: 0o755 });

describe('blocks that lie in other points', () => {
  /** A point that holds `old` (from the first) and `new` (its own), as an incremental one does. */
  async function publishIncrement(): Promise<{ first: SealedPoint; second: SealedPoint }> {
    const first = await sealParts(shelf.place, { old: noise(2.5 * MiB, 11) });
    const second = await sealParts(shelf.place, { new: noise(1000, 12) });
    const blocksOf = async (point: SealedPoint, artifact: number): Promise<WholeBlock[]> => {
      const blocks: WholeBlock[] = [];
      for await (const entry of (await openHere(shelf.place, point)).entries())
        for await (const block of entry.blocks) blocks.push({ ...(block as WholeBlock), artifact });
      return blocks;
    };
    const entries: [Entry, WholeBlock[]][] = [
      [root, []],
      [entryOf('new', { size: 1000 }), await blocksOf(second, 0)],
      [entryOf('old', { size: 2.5 * MiB }), await blocksOf(first, 1)],
    ];
    const { id, source } = first;
    await reseal(shelf.place, second, 'manifest', manifestOf(second, entries, [{ id, source: source.name }]));
    shelf.publish(first);
    const changed = publishResealed(second, (point) => ({
      ...point,
      level: 'incremental',
      parent: first.id,
      content: { ...point.content, format: 'pax-tar', entries: 3 },
    }));
    return { first, second: changed };
  }

  test('are read from there: without their manifests, and each with its own key', async () => {
    const { first, second } = await publishIncrement();
    rmSync(path.join(shelf.store, 'shop', first.id, manifestName));
    expect(await shelf.verify(second.id)).toMatchObject({ code: 0, stderr: '' });
    const { code, into } = await shelf.restore(second.id);
    expect(code).toBe(0);
    expect(readFileSync(path.join(into, 'old')).equals(noise(2.5 * MiB, 11))).toBe(true);
    expect(readFileSync(path.join(into, 'new')).equals(noise(1000, 12))).toBe(true);
  });

  test('that are not here name the point that is to be brought', async () => {
    const { first, second } = await publishIncrement();
    rmSync(path.join(shelf.store, 'shop', first.id), { recursive: true });
    const { code, stderr, into } = await shelf.restore(second.id);
    expect(code).toBe(6);
    expect(stderr).toContain(`shop/${second.id} needs shop/${first.id}: shop/${first.id}/backup.json is not there`);
    expect(readdirSync(into)).toEqual(['new']);
  });
});

describe('a manifest of somebody who means harm', () => {
  const folderAt = (name: string) => entryOf(name, { type: 'directory', mode: 0o755 });
  const link = (name: string, to: string) => entryOf(name, { type: 'symlink', link: Buffer.from(to) });
  const hard = (name: string, to: string) => entryOf(name, { type: 'hardlink', link: Buffer.from(to) });

  test.each<[string, Entry[]]>([
    ['climbs out', [root, folderAt('..'), entryOf('../victim')]],
    ['climbs out further in', [root, folderAt('a'), entryOf('a/../../victim')]],
    ['begins at the root', [root, entryOf('/tmp/x')]],
    ['hides a NUL', [root, entryOf('a\0b')]],
    ['writes through a symbolic link', [root, link('a', 'OUTSIDE'), entryOf('a/victim')]],
    ['makes a folder through a symbolic link', [root, link('a', 'OUTSIDE'), folderAt('a/new')]],
    ['names things without their folder', [root, entryOf('a/b')]],
    ['makes the tree itself a link', [link('', 'OUTSIDE')]],
    ['has no root', [entryOf('a')]],
    ['links to a file outside', [root, hard('a', '../victim')]],
    ['links to a file through a symbolic link', [root, link('a', 'OUTSIDE'), hard('b', 'a/victim')]],
    ['links two files to each other', [root, hard('a', 'b'), hard('b', 'a')]],
  ])('that %s is refused, and nothing outside is touched', async (_, entries) => {
    const outside = shelf.fresh('outside');
    mkdirSync(outside);
    writeFileSync(path.join(outside, 'victim'), 'untouched', { mode: 0o600 });
    const named = entries.map((e) => (e.link?.toString() === 'OUTSIDE' ? { ...e, link: Buffer.from(outside) } : e));
    const point = await sealHere(shelf.place, async () => {}, { format: 'pax-tar' });
    await reseal(
      shelf.place,
      point,
      'manifest',
      manifestOf(
        point,
        named.map((entry) => [entry]),
      ),
    );
    publishResealed(point);
    const into = path.join(outside, 'into');
    const { code, stderr } = await shelf.script('restore', shelf.store, point.id, '--into', into, ...shelf.keys);
    expect({ code, said: stderr.includes('The manifest names') }).toEqual({ code: 6, said: true });
    expect(readdirSync(outside).sort()).toEqual(['into', 'victim']);
    expect(lstatSync(path.join(outside, 'victim'))).toMatchObject({ nlink: 1, size: 9 });
  });

  test('that holds anything but entries and blocks is refused', async () => {
    const point = await sealHere(shelf.place, async () => {}, { format: 'pax-tar' });
    const head = JSON.stringify({
      format: manifestFormat,
      id: point.id,
      artifacts: [{ id: point.id, source: 'shop' }],
    });
    const hash = createHash('sha256').digest('hex');
    const hostile = [
      '',
      '17',
      `{"p":"","t":"d","m":493,"mt":"1"}\n{"blocks":[[1,0,10,0,5,"${hash}"]]}`,
      `{"p":"","t":"d","m":493,"mt":"1"}\n{"blocks":[[0,0,${2 ** 40},0,5,"${hash}"]]}`,
      `{"p":"","t":"d","m":493,"mt":"1e9"}`,
      `{"p":"","t":"__proto__","m":493,"mt":"1"}`,
      `{"p":"","t":"d","m":493,"mt":"1"}`,
      `{"p":"","t":"d","m":493,"mt":"1"}\n{"end":{"entries":2,"blocks":0,"bytes":0}}`,
    ];
    for (const lines of hostile) {
      await reseal(shelf.place, point, 'manifest', zstdCompressSync(`${head}\n${lines}\n`));
      publishResealed(point);
      const { code, stderr } = await shelf.restore(point.id);
      expect({ lines, code, said: stderr.includes(`${manifestName} is damaged`) }).toEqual({
        lines,
        code: 6,
        said: true,
      });
    }
  });
});
