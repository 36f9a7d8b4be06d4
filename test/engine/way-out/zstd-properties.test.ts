import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Problem } from '../../../engine/way-out/problem.mjs';
import { decompressFrame } from '../../../engine/way-out/zstd.mjs';
import { bytesMax, compress, kinds } from './zstd-contents.ts';

const contents = fc
  .record({
    kind: fc.constantFrom(...Object.keys(kinds)),
    bytes: fc.oneof(fc.nat(300), fc.nat(20_000), fc.nat(300_000), fc.constantFrom(131_071, 131_072, 131_073)),
    seed: fc.integer({ min: 1, max: 20_000_000 }),
  })
  .map(({ kind, bytes, seed }) => kinds[kind]?.(bytes, seed) ?? Buffer.alloc(0));

describe("restore.mjs's own zstd, whatever it is given", () => {
  test('decompresses what zstd compressed, whatever it is and however hard it tried', () => {
    fc.assert(
      fc.property(contents, fc.constantFrom(-5, 1, 3, 6, 12), fc.boolean(), (content, level, checksum) => {
        const got = decompressFrame(compress(content, level, checksum), bytesMax);
        expect(Buffer.compare(got, content)).toBe(0);
      }),
      { numRuns: 100 },
    );
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
});
