import { constants as zlib, zstdCompressSync } from 'node:zlib';
import { ownMemoryMin } from '../give-back.ts';
import { frameBytesMax } from './limits.ts';

/** zstd's level, as a point's description names it. */
export const compressionLevel = 3;

/**
 * The level's way of searching, over a window that spans the whole frame instead of its last 2 MiB, and with tables of
 * half the size, which stay in the cache of a core: less time for about the same size (`npm run bench -- --only
 * compression`). zstd itself makes both smaller for what is small.
 */
const compressionParameters: Readonly<Record<number, number>> = {
  [zlib.ZSTD_c_compressionLevel]: compressionLevel,
  [zlib.ZSTD_c_windowLog]: Math.log2(frameBytesMax),
  [zlib.ZSTD_c_hashLog]: 16,
  [zlib.ZSTD_c_chainLog]: 15,
  [zlib.ZSTD_c_checksumFlag]: 1,
};

/**
 * One frame, in memory of its own that may be handed over as it is.
 *
 * @param params those of zstd; others than ours to compare with
 */
export function compressFrame(content: Uint8Array, params = compressionParameters) {
  return zstdCompressSync(content, {
    // One output buffer instead of many: the bound of what zstd may need.
    chunkSize: Math.max(ownMemoryMin, content.length + (content.length >> 8) + 1024),
    params,
    pledgedSrcSize: content.length,
  });
}
