import { constants as zlib } from 'node:zlib';
import { frameBytesMax } from './limits.ts';

/** zstd's level, as a point's description names it. */
export const compressionLevel = 3;

/**
 * The level's way of searching, over a window that spans the whole frame instead of its last 2 MiB, and with tables of
 * half the size, which stay in the cache of a core: less time for about the same size (`npm run bench -- --only
 * compression`). zstd itself makes both smaller for what is small.
 */
export const compressionParameters: Readonly<Record<number, number>> = {
  [zlib.ZSTD_c_compressionLevel]: compressionLevel,
  [zlib.ZSTD_c_windowLog]: Math.log2(frameBytesMax),
  [zlib.ZSTD_c_hashLog]: 16,
  [zlib.ZSTD_c_chainLog]: 15,
  [zlib.ZSTD_c_checksumFlag]: 1,
};
