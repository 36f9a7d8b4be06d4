/** Where a zstd frame ends and how much it holds, without decompressing it (RFC 8878, section 3.1.1). */

export interface ZstdFrame {
  frameBytes: number;
  /** Null where the frame does not say; ours always do. */
  contentBytes: number | null;
}

const magic = 0xfd2fb528;
const blockHeaderBytes = 3;
const checksumBytes = 4;
const rle = 1;
const reserved = 3;

/** Measures the frame that begins at `offset`; null when it is cut off there, or is none. */
export function measureFrame(bytes: Uint8Array, offset = 0): ZstdFrame | null {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (offset + 5 > view.length || view.readUInt32LE(offset) !== magic) return null;
  const descriptor = view[offset + 4] ?? 0;
  const single = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? Number(single) : 1 << sizeFlag;
  const sizeAt = offset + 5 + (single ? 0 : 1) + dictionaryBytes;
  if (sizeAt + sizeBytes > view.length) return null;
  const contentBytes = contentSize(view, sizeAt, sizeBytes);
  for (let at = sizeAt + sizeBytes; at + blockHeaderBytes <= view.length; ) {
    const header = view.readUIntLE(at, blockHeaderBytes);
    const type = (header >> 1) & 3;
    if (type === reserved) return null;
    at += blockHeaderBytes + (type === rle ? 1 : header >> 3);
    if ((header & 1) === 0) continue;
    const end = at + ((descriptor & 4) !== 0 ? checksumBytes : 0);
    return end > view.length ? null : { frameBytes: end - offset, contentBytes };
  }
  return null;
}

function contentSize(view: Buffer, at: number, bytes: number): number | null {
  if (bytes === 0) return null;
  if (bytes === 8) return Number(view.readBigUInt64LE(at));
  // Two bytes count from 256, for one byte would have done below that.
  return view.readUIntLE(at, bytes) + (bytes === 2 ? 256 : 0);
}
