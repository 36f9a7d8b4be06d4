import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sealPoint, verifyPoint } from '../../../engine/artifact/index.ts';
import { encodeEntry, manifestFormat } from '../../../engine/artifact/manifest.ts';
import type { SealedPoint } from '../../../policies/recovery-point.ts';
import {
  chunked,
  entryOf,
  failureOf,
  makePlace,
  noise,
  openHere,
  type Place,
  pointDir,
  read,
  reseal,
  sealParts,
  source,
} from './sealing.ts';

/** Points made by somebody who may write into the store, or even holds a key, and means harm. */

const signal = new AbortController().signal;
let place: Place;
beforeAll(async () => {
  place = await makePlace();
});
afterAll(() => place.remove());

/** A manifest of one entry with the given blocks, each the same. */
function manifestOf(point: SealedPoint, block: unknown[], times: number): Buffer {
  const lines = [
    JSON.stringify({ format: manifestFormat, id: point.id, artifacts: [{ id: point.id, source: source.name }] }),
    encodeEntry(entryOf('a', { streamed: true })),
  ];
  for (let left = times; left > 0; left -= 256)
    lines.push(JSON.stringify({ blocks: Array(Math.min(left, 256)).fill(block) }));
  const bytes = Number(block[4]) * times;
  lines.push(JSON.stringify({ end: { entries: 1, blocks: times, bytes } }));
  return zstdCompressSync(`${lines.join('\n')}\n`);
}

describe('whoever may write into the store', () => {
  test('cannot put another sealed point in the place of one, though it opens with the same identity', async () => {
    const point = await sealParts(place, { a: noise(1000) });
    const dir = pointDir(place, point.id);
    const forgedDir = path.join(place.dir, 'forged');
    mkdirSync(forgedDir);
    await sealPoint({
      dir: forgedDir,
      point: { id: point.id, source, level: 'full', parent: null, classes: ['manual'] },
      format: point.content.format,
      recipients: [place.recipient],
      software: 'tests',
      signal,
      seal: async (writer) => {
        await writer.entry(entryOf('a', { streamed: true }));
        await writer.stream(chunked(noise(1000, 2)));
        return { content: point.content, facts: {}, capturedAt: point.capturedAt };
      },
    });
    const forged = JSON.parse(readFileSync(path.join(forgedDir, 'sealed.json'), 'utf8')) as SealedPoint;
    const sizes = ({ objects }: SealedPoint) => objects.map((o) => [o.name, o.bytes]);
    // Only then would nothing else tell them apart.
    expect(sizes(forged)[0]).toEqual(sizes(point)[0]);
    for (const { name } of point.objects) cpSync(path.join(forgedDir, name), path.join(dir, name));
    expect(await failureOf(openHere(place, point))).toMatchObject({
      type: 'Corrupt',
      message: expect.stringContaining('another key'),
    });
  });

  test('cannot fill the memory with a description that has no end', async () => {
    const point = await sealParts(place, { a: noise(10) });
    const file = path.join(pointDir(place, point.id), 'sealed.json');
    writeFileSync(file, Buffer.alloc(5_000_000, ' '));
    expect(await failureOf(openHere(place, point))).toMatchObject({
      type: 'Corrupt',
      message: expect.stringContaining('more than'),
    });
  });
});

describe('whoever holds the key of a point', () => {
  test('cannot have a small frame grow without bound', async () => {
    const point = await sealParts(place, { a: noise(10) });
    const bomb = zstdCompressSync(Buffer.alloc(64 * 1024 * 1024));
    await reseal(place, point, 'artifact', bomb);
    const sha256 = createHash('sha256').update(Buffer.alloc(10)).digest('hex');
    await reseal(place, point, 'manifest', manifestOf(point, [0, 0, bomb.length, 0, 10, sha256], 1));
    const reader = await openHere(place, point);
    expect(await failureOf(read(reader.content('a')))).toMatchObject({
      type: 'Corrupt',
      message: expect.stringContaining('cannot be decompressed'),
    });
    const { problems } = await verifyPoint(reader, { signal });
    expect(problems.join('\n')).toContain('cannot be decompressed');
  });

  test('cannot have a manifest of one endless line, or of lines that grow without bound', async () => {
    const point = await sealParts(place, { a: noise(10) });
    const stretch = zstdCompressSync(Buffer.alloc(4 * 1024 * 1024, ' '));
    await reseal(place, point, 'manifest', Buffer.concat(Array(6).fill(stretch)));
    const reader = await openHere(place, point);
    expect(await failureOf(read(reader.content('a')))).toMatchObject({
      type: 'Corrupt',
      message: expect.stringContaining('has no end'),
    });
  });

  test('may name one byte again and again; it is read a few thousand blocks at a time', async () => {
    const point = await sealParts(place, { a: Buffer.from('x') });
    const frame = zstdCompressSync('x');
    await reseal(place, point, 'artifact', frame);
    const sha256 = createHash('sha256').update('x').digest('hex');
    await reseal(place, point, 'manifest', manifestOf(point, [0, 0, frame.length, 0, 1, sha256], 20_000));
    const reader = await openHere(place, point);
    expect((await read(reader.content('a'))).equals(Buffer.alloc(20_000, 'x'))).toBe(true);
    const { problems, blocks } = await verifyPoint(reader, { signal });
    expect({ problems, blocks }).toEqual({ problems: [], blocks: 20_000 });
  });
});
