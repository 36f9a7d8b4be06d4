import * as zlib from 'node:zlib';
import { damaged } from './problem.mjs';
import { decompressFrame } from './zstd.mjs';

/** The zstd frames of a sealed object's plaintext (docs/format.md, section 5). */

/** @typedef {import('./sealed.mjs').SealedFile} SealedFile */

export const frameBytesMax = 4 * 1024 * 1024;
export const frameStoredMax = frameBytesMax + 64 * 1024;
const windowLogMax = 22;
const rleBlock = 1;

/** Node.js has zstd since 22.15; whoever doubts it may have ours everywhere. */
const native = process.env.RESTORE_ZSTD === 'own' ? undefined : zlib.zstdDecompressSync;

/** @param {SealedFile} sealed @param {number} offset @param {number} bytes @returns {Uint8Array} */
export function readFrame(sealed, offset, bytes) {
  const frame = sealed.read(offset, bytes);
  if (measureFrame(sealed, offset) !== bytes)
    throw damaged(`${sealed.name} is damaged: there is no frame of ${bytes} bytes at ${offset}.`);
  if (!native) return decompressFrame(frame, frameBytesMax);
  try {
    const params = { [zlib.constants.ZSTD_d_windowLogMax]: windowLogMax };
    return native(frame, { maxOutputLength: frameBytesMax, chunkSize: 1024 * 1024, params });
  } catch (error) {
    throw damaged(`${sealed.name} is damaged: the frame at ${offset} cannot be decompressed (${messageOf(error)}).`);
  }
}

/** How long the frame is that begins at a place, by its headers (RFC 8878, 3.1.1). @param {SealedFile} sealed @param {number} offset */
export function measureFrame(sealed, offset) {
  const bad = () => damaged(`${sealed.name} is damaged: there is no frame at ${offset}, where one should be.`);
  const byte = (/** @type {number} */ at) => {
    if (at >= sealed.plainBytes) throw bad();
    return sealed.read(at, 1)[0];
  };
  if ([0x28, 0xb5, 0x2f, 0xfd].some((expected, i) => byte(offset + i) !== expected)) throw bad();
  const descriptor = byte(offset + 4);
  const single = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >> 6;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3];
  let at = offset + 5 + (single ? 0 : 1) + dictionaryBytes + (sizeFlag === 0 ? Number(single) : 1 << sizeFlag);
  for (let last = false; !last; ) {
    const header = byte(at) | (byte(at + 1) << 8) | (byte(at + 2) << 16);
    last = (header & 1) === 1;
    at += 3 + (((header >> 1) & 3) === rleBlock ? 1 : header >> 3);
    if (at - offset > frameStoredMax) throw bad();
  }
  const end = at + ((descriptor & 4) !== 0 ? 4 : 0);
  if (end > sealed.plainBytes) throw bad();
  return end - offset;
}

/** Every frame's content, in order. @param {SealedFile} sealed */
export function* contentsOf(sealed) {
  for (let offset = 0; offset < sealed.plainBytes; ) {
    const bytes = measureFrame(sealed, offset);
    yield readFrame(sealed, offset, bytes);
    offset += bytes;
  }
}

/** @param {unknown} error */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
