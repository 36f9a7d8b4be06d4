/** The sizes that the format promises (docs/format.md), so that a reader knows how much memory it needs. */

const mebibyte = 1024 * 1024;

/** Of a frame once decompressed. */
export const frameBytesMax = 4 * mebibyte;
/** Of a frame as it lies in the stream: zstd's bound for what does not compress, and a little more. */
export const frameCompressedMax = frameBytesMax + 64 * 1024;
/** Of a block that a writer makes. A reader takes whatever fits a frame. */
export const blockBytesMax = mebibyte;
/** Blocks of one frame that a reader takes on together; our frames have some thousands at the most. */
export const frameBlocksMax = 8_192;
