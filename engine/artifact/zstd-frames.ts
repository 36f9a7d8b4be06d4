import { Failure } from '../../policies/failure.ts';

/**
 * Finds where zstd frames end, by their headers alone (RFC 8878, sections 3.1.1 and 3.1.1.2). Needed because Node's
 * streaming decompressor stops after the first frame of a chunk, unlike `zstd -d`.
 */

const magic = 0xfd2fb528;
/** Magic and the largest frame header. */
const headerBytesMax = 4 + 14;
const dictionaryIdBytes = [0, 1, 2, 4];
const contentSizeBytes = [0, 2, 4, 8];
const rleBlock = 1;

/** Length of the frame that begins at `offset`; null when more bytes are needed to tell. Throws Corrupt. */
export function frameLength(bytes: Buffer, offset: number): number | null {
  if (bytes.length < offset + 5) return null;
  if (bytes.readUInt32LE(offset) !== magic) throw damaged('what should be a zstd frame is none');
  const descriptor = bytes[offset + 4] ?? 0;
  const singleSegment = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 && singleSegment ? 1 : (contentSizeBytes[sizeFlag] ?? 0);
  let at = offset + 5 + (singleSegment ? 0 : 1) + (dictionaryIdBytes[descriptor & 3] ?? 0) + sizeBytes;
  for (;;) {
    if (bytes.length < at + 3) return null;
    const header = bytes.readUIntLE(at, 3);
    const size = header >> 3;
    at += 3 + (((header >> 1) & 3) === rleBlock ? 1 : size);
    if ((header & 1) === 1) break;
  }
  const end = at + ((descriptor & 4) !== 0 ? 4 : 0);
  return bytes.length < end ? null : end - offset;
}

/** Cuts a stream of bytes into whole frames. Throws Corrupt when it ends within one. */
export async function* splitFrames(chunks: AsyncIterable<Buffer>, frameBytesMax: number): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    const bytes: Buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    for (let length = frameLength(bytes, at); length !== null; length = frameLength(bytes, at)) {
      yield bytes.subarray(at, at + length);
      at += length;
    }
    rest = bytes.subarray(at);
    if (rest.length > frameBytesMax + headerBytesMax) throw damaged('a zstd frame is longer than the format allows');
  }
  if (rest.length > 0) throw damaged('it ends within a zstd frame');
}

function damaged(what: string): Failure {
  return new Failure('Corrupt', `The manifest is damaged: ${what}.`, {
    next: 'Use another copy of this recovery point; "backupctl backup verify" shows which are good.',
  });
}
