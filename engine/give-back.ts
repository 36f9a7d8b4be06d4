import { types } from 'node:util';

/**
 * Memory of bytes that are done with, given back at once. Left to the garbage collector, buffers pile up to some 64 MiB
 * before a whole collection is paid for; with gigabytes passing through, that took a sixth of all the time.
 */

/** Only for the sole owner: whatever else looks into this memory is empty afterwards. Nothing is done twice. */
export function giveBack(memory: ArrayBuffer): void {
  if (!memory.detached) memory.transfer(0);
}

/** The same for a chunk that a stream gave out. One that is a part of something larger is left alone. */
export function giveBackChunk(chunk: Uint8Array): void {
  if (isWhole(chunk)) giveBack(chunk.buffer);
}

/** Node cuts buffers up to half of this from memory that many share; larger ones have their own. */
export const ownMemoryMin = 64 * 1024;

/** Whether the bytes are large, and all that is in their memory: then it can be handed over. */
export function ownsMemory(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return isWhole(bytes) && bytes.byteLength >= ownMemoryMin;
}

function isWhole(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return types.isArrayBuffer(bytes.buffer) && bytes.buffer.byteLength === bytes.byteLength;
}
