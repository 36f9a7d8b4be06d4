import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { constants, zstdCompressSync } from 'node:zlib';

export const bytesMax = 4 * 1024 * 1024;
const program = readFileSync(process.execPath).subarray(0, 30_000_000);

/** Contents that make an encoder use all that it has: literals of every kind, few and many sequences, far and near. */
export const kinds: Record<string, (bytes: number, seed: number) => Buffer> = {
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

export function compress(content: Uint8Array, level: number, checksum = true): Buffer {
  const params = { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: Number(checksum) };
  return zstdCompressSync(content, { params, pledgedSrcSize: content.length });
}
