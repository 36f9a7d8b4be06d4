import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { constants, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Problem } from '../../../engine/way-out/problem.mjs';
import { xxh64Low } from '../../../engine/way-out/xxh64.mjs';
import { decompressFrame } from '../../../engine/way-out/zstd.mjs';

/** The decoder that restore.mjs brings along for a Node.js without one, against the library that everybody uses. */

const bytesMax = 4 * 1024 * 1024;
const program = readFileSync(process.execPath).subarray(0, 30_000_000);

/** Contents that make an encoder use all that it has: literals of every kind, few and many sequences, far and near. */
const kinds: Record<string, (bytes: number, seed: number) => Buffer> = {
  noise: (n) => randomBytes(n),
  'one byte': (n) => Buffer.alloc(n, 7),
  'a pattern': (n) => Buffer.alloc(n, 'recovery '),
  'few symbols': (n) => Buffer.from(randomBytes(n).map((b) => b & 3)),
  'skewed symbols': (n) => Buffer.from(randomBytes(n).map((b) => Math.clz32(b))),
  text: (n, seed) => {
    const lines = Array.from({ length: n / 24 + 1 }, (_, i) => JSON.stringify({ i: i * seed, w: (i * seed) % 977 }));
    return Buffer.from(lines.join('\n').slice(0, n));
  },
  'a program': (n, seed) => program.subarray(seed % 20_000_000, (seed % 20_000_000) + n),
  'noise, then zeros': (n) => Buffer.concat([randomBytes(n >> 1), Buffer.alloc(n >> 1)]),
};

function compress(content: Uint8Array, level: number, checksum = true): Buffer {
  const params = { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: Number(checksum) };
  return zstdCompressSync(content, { params, pledgedSrcSize: content.length });
}

const contents = fc
  .record({
    kind: fc.constantFrom(...Object.keys(kinds)),
    bytes: fc.oneof(fc.nat(300), fc.nat(20_000), fc.nat(300_000), fc.constantFrom(131_071, 131_072, 131_073)),
    seed: fc.integer({ min: 1, max: 20_000_000 }),
  })
  .map(({ kind, bytes, seed }) => kinds[kind]?.(bytes, seed) ?? Buffer.alloc(0));

describe("restore.mjs's own zstd", () => {
  test('decompresses what zstd compressed, whatever it is and however hard it tried', () => {
    fc.assert(
      fc.property(contents, fc.constantFrom(-5, 1, 3, 6, 12), fc.boolean(), (content, level, checksum) => {
        const got = decompressFrame(compress(content, level, checksum), bytesMax);
        expect(Buffer.compare(got, content)).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  test('decompresses frames of four megabytes, of many blocks', () => {
    for (const kind of ['a program', 'few symbols']) {
      const content = kinds[kind]?.(bytesMax, 12_345) ?? Buffer.alloc(0);
      expect(Buffer.compare(decompressFrame(compress(content, 3), bytesMax), content)).toBe(0);
    }
  });

  test('decompresses a frame that does not say how much it holds', () => {
    const content = kinds.text?.(50_000, 3) ?? Buffer.alloc(0);
    const frame = zstdCompressSync(content);
    expect(Buffer.compare(decompressFrame(frame, bytesMax), content)).toBe(0);
  });

  test('never takes a damaged frame for a good one, and never breaks over it', () => {
    const frames = ['text', 'a program', 'skewed symbols', 'few symbols'].map((kind) => {
      const content = kinds[kind]?.(9_000, 777) ?? Buffer.alloc(0);
      return { content, frame: compress(content, 6) };
    });
    const change = fc.record({ at: fc.nat(), bit: fc.nat(7), cut: fc.boolean() });
    fc.assert(
      fc.property(fc.constantFrom(...frames), change, ({ content, frame }, { at, bit, cut }) => {
        const place = at % frame.length;
        const bad = Buffer.from(cut ? frame.subarray(0, place) : frame);
        if (!cut) bad[place] = (bad[place] ?? 0) ^ (1 << bit);
        let got: Uint8Array | null = null;
        try {
          got = decompressFrame(bad, bytesMax);
        } catch (error) {
          expect(error).toBeInstanceOf(Problem);
        }
        // Some bits of a header say nothing of the content.
        if (got) expect(Buffer.compare(got, content)).toBe(0);
      }),
      { numRuns: 600 },
    );
  });

  test('does not let a small frame grow beyond what was agreed', () => {
    const bomb = compress(Buffer.alloc(64 * 1024 * 1024), 3);
    expect(() => decompressFrame(bomb, bytesMax)).toThrow('more than');
    expect(() => decompressFrame(zstdCompressSync(Buffer.alloc(64 * 1024 * 1024)), bytesMax)).toThrow(Problem);
  });

  test('computes the checksum that zstd writes, for every length', () => {
    for (let bytes = 0; bytes < 200; bytes++) {
      const content = randomBytes(bytes);
      const frame = compress(content, 1);
      expect(xxh64Low(content)).toBe(frame.readUInt32LE(frame.length - 4));
    }
  });
});
