import { Failure } from '../../policies/failure.ts';

/**
 * Where zstd frames end and how much they hold, by their headers alone (RFC 8878, sections 3.1.1 and 3.1.1.2). Needed
 * to walk an artifact frame by frame, and because Node's streaming decompressor stops after the first frame of a
 * chunk, unlike `zstd -d`.
 */

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
/** Magic and the largest frame header. */
const headerBytesMax = 4 + 14;

/** Measures the frame that begins at `offset`. `short`: its end is not among the bytes. `none`: no frame begins there. */
export function measureFrame(bytes: Uint8Array, offset = 0): ZstdFrame | 'short' | 'none' {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (offset + 5 > view.length) return 'short';
  if (view.readUInt32LE(offset) !== magic) return 'none';
  const descriptor = view[offset + 4] ?? 0;
  const single = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? Number(single) : 1 << sizeFlag;
  const sizeAt = offset + 5 + (single ? 0 : 1) + dictionaryBytes;
  if (sizeAt + sizeBytes > view.length) return 'short';
  const contentBytes = contentSize(view, sizeAt, sizeBytes);
  for (let at = sizeAt + sizeBytes; at + blockHeaderBytes <= view.length; ) {
    const header = view.readUIntLE(at, blockHeaderBytes);
    const type = (header >> 1) & 3;
    if (type === reserved) return 'none';
    at += blockHeaderBytes + (type === rle ? 1 : header >> 3);
    if ((header & 1) === 0) continue;
    const end = at + ((descriptor & 4) !== 0 ? checksumBytes : 0);
    return end > view.length ? 'short' : { frameBytes: end - offset, contentBytes };
  }
  return 'short';
}

function contentSize(view: Buffer, at: number, bytes: number): number | null {
  if (bytes === 0) return null;
  if (bytes === 8) return Number(view.readBigUInt64LE(at));
  // Two bytes count from 256, for one byte would have done below that.
  return view.readUIntLE(at, bytes) + (bytes === 2 ? 256 : 0);
}

/** Cuts a stream of bytes into whole frames. Throws Corrupt where it is no frames, or one too long or cut off. */
export async function* splitFrames(chunks: AsyncIterable<Buffer>, frameBytesMax: number): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    const bytes: Buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    const frames: Buffer[] = [];
    for (let frame = measureFrame(bytes, at); frame !== 'short'; frame = measureFrame(bytes, at)) {
      if (frame === 'none') {
        yield* frames;
        throw damaged('what should be a zstd frame is none');
      }
      frames.push(bytes.subarray(at, at + frame.frameBytes));
      at += frame.frameBytes;
    }
    rest = bytes.subarray(at);
    // Nothing is looked at any more: whoever takes a frame may hand its memory over.
    yield* frames;
    if (rest.length > frameBytesMax + headerBytesMax) throw damaged('a zstd frame is longer than the format allows');
  }
  if (rest.length > 0) throw damaged('it ends within a zstd frame');
}

function damaged(what: string): Failure {
  return new Failure('Corrupt', `The manifest is damaged: ${what}.`, {
    next: 'Use another copy of this recovery point; "backupctl backup verify" shows which are good.',
  });
}
