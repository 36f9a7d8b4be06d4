import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { blockBytesMax, frameBytesMax, verifyPoint } from '../../../engine/artifact/index.ts';
import { entryOf, makePlace, noise, openHere, type Place, pointDir, read, sealHere, sealParts } from './sealing.ts';

let place: Place;
beforeAll(async () => {
  place = await makePlace();
});
afterAll(() => place.remove());

const signal = new AbortController().signal;
const segment = 1024 * 1024;
const tag = 16;

describe('what is sealed reads back equal', () => {
  const sizes = {
    'nothing at all': 0,
    'one byte': 1,
    'one byte less than a block': blockBytesMax - 1,
    'a block': blockBytesMax,
    'one byte more than a block': blockBytesMax + 1,
    'one byte less than a frame': frameBytesMax - 1,
    'a frame': frameBytesMax,
    'one byte more than a frame': frameBytesMax + 1,
  };
  for (const [name, bytes] of Object.entries(sizes)) {
    test(`${name}, compressible or not`, async () => {
      const hard = noise(bytes);
      const easy = Buffer.alloc(bytes, 'recovery ');
      const point = await sealParts(place, { easy, hard });
      const reader = await openHere(place, point);
      expect((await read(reader.content('hard'))).equals(hard)).toBe(true);
      expect((await read(reader.content('easy'))).equals(easy)).toBe(true);
      expect(point.content.bytes).toBe(2 * bytes);
      const report = await verifyPoint(reader, { signal });
      expect(report.problems).toEqual([]);
      expect(report).toMatchObject({ objects: 3, entries: 2, bytes: 2 * bytes });
    });
  }
});

test('so many entries that the manifest is a frame of its own memory read back in order', async () => {
  const names = Array.from({ length: 4_000 }, (_, i) => `${noise(12, i + 1).toString('hex')} of ${i}`).sort();
  const point = await sealHere(place, async (writer) => {
    for (const name of names) await writer.entry(entryOf(name));
  });
  const manifest = point.objects.find((o) => o.role === 'manifest')?.bytes;
  expect(manifest).toBeGreaterThan(64 * 1024);
  const found: string[] = [];
  for await (const entry of (await openHere(place, point)).entries()) found.push(Buffer.from(entry.path).toString());
  expect(found).toEqual(names);
});

test('contents of any lengths, alone and side by side, read back equal', async () => {
  const edge = fc
    .record({
      unit: fc.constantFrom(1, segment - tag, segment, blockBytesMax, frameBytesMax),
      times: fc.nat(2),
      off: fc.integer({ min: -1, max: 1 }),
    })
    .map(({ unit, times, off }) => Math.max(0, unit * times + off));
  const content = fc.record({ bytes: edge, hard: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(content, { minLength: 1, maxLength: 3 }), async (some) => {
      const parts = Object.fromEntries(
        some.map(({ bytes, hard }, i) => [`part ${i}`, hard ? noise(bytes, i + 1) : Buffer.alloc(bytes, 'recovery ')]),
      );
      const reader = await openHere(place, await sealParts(place, parts));
      for (const [name, bytes] of Object.entries(parts)) {
        expect((await read(reader.content(name))).equals(bytes)).toBe(true);
      }
    }),
    { numRuns: 12 },
  );
});

test('an artifact that fills its segment exactly, or misses it by a byte, reads back equal', async () => {
  // Noise is stored as it is, so that the length of the ciphertext follows from that of the content.
  const two = await sealParts(place, { a: noise(segment) });
  const around = (two.objects[0]?.bytes ?? 0) - segment - tag;
  for (const [delta, expected] of [
    [-1, segment - 1],
    [0, segment],
    [1, segment + 1 + tag],
  ] as const) {
    const bytes = noise(segment - around + delta);
    const point = await sealParts(place, { a: bytes });
    expect(point.objects[0]?.bytes).toBe(expected);
    const reader = await openHere(place, point);
    expect((await read(reader.content('a'))).equals(bytes)).toBe(true);
  }
});

test('objects are private files, and nothing else is left in the folder', async () => {
  const point = await sealParts(place, { a: noise(10) });
  const dir = pointDir(place, point.id);
  expect(readdirSync(dir).sort()).toEqual([
    'data.parts.zst.tink',
    'key.1.age',
    'manifest.ndjson.zst.tink',
    'sealed.json',
  ]);
  for (const name of readdirSync(dir)) expect(statSync(path.join(dir, name)).mode & 0o777).toBe(0o600);
  expect(JSON.parse(readFileSync(path.join(dir, 'sealed.json'), 'utf8'))).toEqual(point);
});

test('sealing the same twice gives other ciphertext, for key and salt are fresh', async () => {
  const first = await sealParts(place, { a: noise(10) });
  const second = await sealParts(place, { a: noise(10) });
  expect(first.objects[0]?.sha256).not.toBe(second.objects[0]?.sha256);
});

test('frames come back in the order of the calls, with their places', async () => {
  const point = await sealHere(place, async (writer) => {
    const calls = Array.from({ length: 12 }, (_, i) =>
      writer.frame([
        { kind: 'bytes', bytes: noise(i % 2 === 0 ? 600_000 : 10, i + 1), hash: true },
        { kind: 'zeros', bytes: i },
      ]),
    );
    const frames = await Promise.all(calls);
    let content = 0;
    let compressed = 0;
    for (const frame of frames) {
      expect(frame).toMatchObject({ contentOffset: content, frameOffset: compressed });
      content += frame.contentBytes;
      compressed += frame.frameBytes;
    }
  });
  expect(point.content.bytes).toBe(6 * 600_000 + 6 * 10 + 66);
});
