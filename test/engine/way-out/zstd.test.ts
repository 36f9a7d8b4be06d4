import { randomBytes } from 'node:crypto';
import { zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { Problem } from '../../../engine/way-out/problem.mjs';
import { xxh64Low } from '../../../engine/way-out/xxh64.mjs';
import { decompressFrame } from '../../../engine/way-out/zstd.mjs';
import { bytesMax, compress, kinds } from './zstd-contents.ts';

/** The decoder that restore.mjs brings along for a Node.js without one, against the library that everybody uses. */

describe("restore.mjs's own zstd", () => {
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
